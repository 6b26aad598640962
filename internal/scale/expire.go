package main

import (
	"context"
	"errors"
	"time"

	"github.com/quash-auth/quash/events"
)

// expireResult is what a minute costs in which all statements of the stream end.
type expireResult struct {
	livingConfig
	Quiet, During quantiles // publish → applied at one node
	QuietCPU      float64   // of the server, cores
	DuringCPU     float64
	Left          int           // messages in the stream when the minute was over, beacons and probes aside
	Gone          time.Duration // after the last statement's end, until the stream had none of them left; 0: it had not in time
	Lost          int
	NodeBefore    int // statements that the node held
}

// expire follows a stream whose statements are about to end.
func (c livingConfig) expire(ctx context.Context) (r expireResult, err error) {
	r.livingConfig = c
	b, err := c.bus(ctx, c.Relax)
	f := &fleet{bus: b, patience: patience}
	defer func() { err = errors.Join(err, f.close()) }()
	if err != nil {
		return r, err
	}
	node, err := spawn("node", "nodes", 0)
	if err != nil {
		return r, err
	}
	f.nodes = []*child{node}
	if err := node.call("add", nodesConfig{URL: b.urls[0], Kind: kindFeed, Prefix: "node", Count: 1}, nil); err != nil {
		return r, err
	}
	if err := node.call("entries", struct{}{}, &r.NodeBefore); err != nil {
		return r, err
	}
	quiet := min(10*time.Second, time.Until(c.End)-time.Second)
	if quiet < 2*time.Second {
		return r, errors.New("the statements have begun to end: fill the stream again, with more time before")
	}
	if r.Quiet, r.QuietCPU, err = f.during(ctx, "before", func() error { time.Sleep(quiet); return nil }); err != nil {
		return r, err
	}
	time.Sleep(time.Until(c.End))
	last := c.End.Truncate(time.Second).Add(59 * time.Second)
	const probes = 10_000 // more than are published and beaconed until then
	r.During, r.DuringCPU, err = f.during(ctx, "minute", func() error {
		time.Sleep(time.Until(last))
		for time.Since(last) < time.Minute && ctx.Err() == nil {
			s, err := b.js.Stream(ctx, events.StreamName)
			if err != nil {
				return err
			}
			left := int(s.CachedInfo().State.Msgs)
			if r.Left == 0 {
				r.Left = left
			}
			if left < probes {
				r.Gone = time.Since(last)
				return nil
			}
			time.Sleep(100 * time.Millisecond)
		}
		return ctx.Err()
	})
	r.Lost = f.result.Lost
	return r, err
}

// during probes while something goes on, and measures the servers' CPU.
func (f *fleet) during(ctx context.Context, name string, what func() error) (each quantiles, cpu float64, err error) {
	if err := f.arm(name, probeMost); err != nil {
		return each, 0, err
	}
	m, err := f.meter()
	if err != nil {
		return each, 0, err
	}
	stop := f.probing(ctx, name, probeEvery)
	happened := what()
	n, err := stop()
	if err := errors.Join(happened, err); err != nil {
		return each, 0, err
	}
	server, _, took, err := m.end()
	if err != nil {
		return each, 0, err
	}
	r, err := f.collect(name, n, f.patience)
	return r.each(), server.Seconds() / took.Seconds(), err
}
