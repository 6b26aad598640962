package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
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
	Before           time.Duration // how long the settled are observed alone
	SlotWait         time.Duration // of the joiners, see events.SubscriberConfig. Negative: they read without slots
}

type catchupResult struct {
	catchupConfig
	Quiet, During      quantiles     // publish → applied at the settled
	OldQuiet, OldThen  quantiles     // the oldest view among them
	First              time.Duration // from the start of the joiners until one was ready
	Joined             quantiles     // each of them
	Readings           uint64        // by which they read what is stored
	Waited             uint64        // of these, for a slot
	Again              int           // statements that were published again because nobody answered
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
	budget := 16 * int64(c.Stored)
	if f.others, err = spawn("settled", "nodes", 0); err != nil {
		return r, err
	}
	if err := f.others.call("add", nodesConfig{URL: f.urls[0], Kind: kindFeed, Prefix: "settled", Count: c.Settled, Budget: budget, Patience: joinMost}, nil); err != nil {
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
	f.probe = func(name string) func() (int, error) { return f.insist(ctx, name, &r.Again) }
	r.Quiet, _, r.OldQuiet, err = f.observe(ctx, "quiet", func() error { time.Sleep(c.Before); return nil })
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
	if err != nil {
		return r, err
	}
	sts, err := all[events.Status](f.nodes, "status", struct{}{})
	for _, st := range sts {
		r.Readings += st.CatchUps
		r.Waited += st.SlotWaits
	}
	return r, err
}

const (
	insistEvery = 100 * time.Millisecond
	joinMost    = 15 * time.Minute // until all are ready
)

// insist publishes at a pace, whether the last one is acknowledged or not, and each until it is: how long a
// statement takes counts from when it was due, also while nothing works.
func (f *fleet) insist(ctx context.Context, name string, again *int) (stop func() (int, error)) {
	over := make(chan struct{})
	n, repeats := 0, atomic.Int64{}
	var pacer, each sync.WaitGroup
	pacer.Go(func() {
		tick := time.NewTicker(insistEvery)
		defer tick.Stop()
		for n < probeMost {
			r := revocation(name, n)
			n++
			each.Go(func() {
				for {
					if _, err := f.pub.Publish(ctx, r); err == nil || ctx.Err() != nil {
						return
					}
					repeats.Add(1)
				}
			})
			select {
			case <-over:
				return
			case <-tick.C:
			}
		}
	})
	return func() (int, error) {
		close(over)
		pacer.Wait()
		each.Wait()
		*again += int(repeats.Load())
		return n, ctx.Err()
	}
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
			conf := nodesConfig{URL: f.urls[0], Kind: kindFeed, Prefix: fmt.Sprintf("joiner-%d", i), Count: share(r.Joiners, len(f.nodes), i), Budget: budget, SlotWait: r.SlotWait, Patience: joinMost}
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
	if len(each) > 0 {
		r.First = each[0] // they are sorted now
	}
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
