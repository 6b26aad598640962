package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quash-auth/quash/events"
)

// catchupConfig is many nodes that start at once on a stream that holds much, while
// others have long been following it.
type catchupConfig struct {
	Settled, Joiners int
	Stored           int
	Nice             int // by how much the joiners yield, as if they had machines of their own
	Children         int
}

type catchupResult struct {
	catchupConfig
	Quiet, During      quantiles     // publish → applied at the settled
	OldQuiet, OldThen  quantiles     // the oldest view among them
	Joined             quantiles     // from the start of a joiner until it was ready
	ServerCPU, NodeCPU time.Duration // per statement that was read
	ServerQuiet        float64       // cores, without joiners
	Lost, Unenforced   int
}

func (c catchupConfig) run(ctx context.Context) (r catchupResult, err error) {
	r.catchupConfig = c
	f, err := startFleet(ctx, fleetConfig{Topology: topoOne, Kind: kindFeed, Others: c.Settled})
	defer func() { err = errors.Join(err, f.close()) }()
	if err != nil {
		return r, err
	}
	rs := make([]events.Revocation, c.Stored)
	for k := range rs {
		rs[k] = livingEvent(k, time.Now().Add(time.Hour))
	}
	if _, err := f.pub.PublishAll(ctx, rs, nil); err != nil {
		return r, err
	}
	f.patience = time.Minute
	budget := 16 * int64(c.Stored)
	if f.others, err = spawn("settled", "nodes", 0); err != nil {
		return r, err
	}
	if err := f.others.call("add", nodesConfig{URL: f.urls[0], Kind: kindFeed, Prefix: "settled", Count: c.Settled, Budget: budget}, nil); err != nil {
		return r, err
	}
	for i := range c.Children {
		n, err := spawn(fmt.Sprintf("joiners-%d", i), "nodes", c.Nice)
		if err != nil {
			return r, err
		}
		f.nodes = append(f.nodes, n)
	}
	m, err := f.meter()
	if err != nil {
		return r, err
	}
	r.Quiet, _, r.OldQuiet, err = f.observe(ctx, "quiet", func() error { time.Sleep(2 * idleFor); return nil })
	if err != nil {
		return r, err
	}
	server, _, took, err := m.end()
	if err != nil {
		return r, err
	}
	r.ServerQuiet = server.Seconds() / took.Seconds()
	r.During, _, r.OldThen, err = f.observe(ctx, "during", func() error { return r.join(f, budget) })
	r.Lost, r.Unenforced = f.result.Lost, f.result.Unenforced
	return r, err
}

// join starts the joiners and waits until all are ready.
func (r *catchupResult) join(f *fleet, budget int64) error {
	before, err := sumVitals(f.nodes, vitalsOf{})
	if err != nil {
		return err
	}
	m, err := f.meter()
	if err != nil {
		return err
	}
	took, errs := make([][]time.Duration, len(f.nodes)), make([]error, len(f.nodes))
	done := make(chan struct{})
	for i, c := range f.nodes {
		go func() {
			conf := nodesConfig{URL: f.urls[0], Kind: kindFeed, Prefix: fmt.Sprintf("joiner-%d", i), Count: share(r.Joiners, len(f.nodes), i), Budget: budget}
			errs[i] = c.call("add", conf, &took[i])
			done <- struct{}{}
		}()
	}
	var each []time.Duration
	for range f.nodes {
		<-done
	}
	for _, t := range took {
		each = append(each, t...)
	}
	r.Joined = quantilesOf(each)
	server, _, wall, err := m.end()
	if err := errors.Join(append(errs, err)...); err != nil {
		return err
	}
	after, err := sumVitals(f.nodes, vitalsOf{})
	read := time.Duration(r.Joiners * r.Stored)
	r.ServerCPU = (server - time.Duration(r.ServerQuiet*float64(wall))) / read
	r.NodeCPU = (after.CPU - before.CPU) / read
	return err
}
