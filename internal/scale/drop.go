package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// dropResult is what it costs when all nodes lose their connections at once.
type dropResult struct {
	Dropped            int
	Fresh              quantiles     // from the first drop until a node's view is newer than the last one
	ServerCPU, NodeCPU time.Duration // over that time, without what an idle fleet uses
	HubCPU             time.Duration // of those servers that hold the stream
	InBytes, OutBytes  int64         // of all servers
	Quiet, During      quantiles     // publish → applied at those that were not dropped
	OldQuiet, OldThen  quantiles     // the oldest view among them
	Missed             quantiles     // publish → applied at the dropped, during
}

const (
	probeEvery = 20 * time.Millisecond
	probeMost  = 6000
)

// probing publishes at a pace until it is told to stop, and returns how many.
func (f *fleet) probing(ctx context.Context, name string, every time.Duration) (stop func() (int, error)) {
	over := make(chan struct{})
	n, err := 0, error(nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n < probeMost {
			if _, err = f.pub.Publish(ctx, revocation(name, n)); err != nil {
				return
			}
			n++
			select {
			case <-over:
				return
			case <-tick.C:
			}
		}
	})
	return func() (int, error) {
		close(over)
		wg.Wait()
		return n, err
	}
}

// observe publishes at a pace while something goes on, and returns how the others and
// the nodes fared.
func (f *fleet) observe(ctx context.Context, name string, what func() error) (others, nodes, oldest quantiles, err error) {
	if err := f.arm(name, probeMost); err != nil {
		return others, nodes, oldest, err
	}
	if err := f.others.call("watch", struct{}{}, nil); err != nil {
		return others, nodes, oldest, err
	}
	if f.probe == nil {
		f.probe = func(name string) func() (int, error) { return f.probing(ctx, name, probeEvery) }
	}
	stop := f.probe(name)
	happened := what()
	n, err := stop()
	if err := errors.Join(happened, err); err != nil {
		return others, nodes, oldest, fmt.Errorf("%s, %d published meanwhile: %w", name, n, err)
	}
	if err := f.others.call("watched", struct{}{}, &oldest); err != nil {
		return others, nodes, oldest, err
	}
	r, err := f.collect(name, n, f.patience)
	if err != nil {
		return others, nodes, oldest, err
	}
	var o record
	err = f.others.call("collect", phase{Phase: name, Messages: n, Patience: f.patience}, &o)
	f.result.Lost += o.lost()
	return o.each(), r.each(), oldest, err
}

// dropAll breaks the connections of all nodes, not of the others.
func (f *fleet) dropAll(ctx context.Context) error {
	d := &f.result.Drop
	var err error
	if d.Quiet, _, d.OldQuiet, err = f.observe(ctx, "quiet", func() error { time.Sleep(2 * idleFor); return nil }); err != nil {
		return err
	}
	d.During, d.Missed, d.OldThen, err = f.observe(ctx, "during", func() error {
		time.Sleep(probeEvery)
		return f.drop(d)
	})
	return err
}

// whole waits until the servers have the connections of all nodes.
func (f *fleet) whole() error {
	for end := time.Now().Add(f.patience); ; time.Sleep(20 * time.Millisecond) {
		counts, err := all[int](f.all(), "clients", "fleet-")
		n := 0
		for _, c := range counts {
			n += c
		}
		if err != nil || n == f.Nodes {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("the servers have %d connections of %d nodes", n, f.Nodes)
		}
	}
}

// drop returns when every node is fresh again.
func (f *fleet) drop(d *dropResult) error {
	if err := f.whole(); err != nil {
		return err
	}
	m, err := f.meter()
	if err != nil {
		return err
	}
	before, err := f.traffic()
	if err != nil {
		return err
	}
	hub, err := sumVitals(f.servers, vitalsOf{})
	if err != nil {
		return err
	}
	began := time.Now()
	counts, err := all[int](f.all(), "drop", "fleet-")
	if err != nil {
		return err
	}
	for _, n := range counts {
		d.Dropped += n
	}
	since := time.Now()
	took, err := all[[]time.Duration](f.nodes, "fresh", since)
	if err != nil {
		return err
	}
	server, nodes, wall, err := m.end()
	if err != nil {
		return err
	}
	hubAfter, err := sumVitals(f.servers, vitalsOf{})
	if err != nil {
		return err
	}
	d.HubCPU = hubAfter.CPU - hub.CPU
	after, err := f.traffic()
	var each []time.Duration
	for _, t := range took {
		for _, one := range t {
			each = append(each, one+since.Sub(began))
		}
	}
	d.Fresh = quantilesOf(each)
	d.ServerCPU = server - time.Duration(f.result.ServerIdle*float64(wall))
	d.NodeCPU = nodes - time.Duration(f.result.NodeIdle*float64(wall))
	d.InBytes, d.OutBytes = after.InBytes-before.InBytes, after.OutBytes-before.OutBytes
	return err
}

// dropStill is dropAll with nothing published meanwhile: what remains is the cost of
// connections and catch-ups.
func (f *fleet) dropStill(context.Context) error {
	if f.Kind != kindFeed { // the others have nothing then to be fresh by
		return nil
	}
	time.Sleep(idleFor)
	return f.drop(&f.result.Still)
}

// killServer kills the only server with SIGKILL, starts it again, and waits until
// every node is fresh. It is the last that is done to a fleet.
func (f *fleet) killServer(ctx context.Context) (err error) {
	if f.Topology != topoOne {
		return nil
	}
	stop := f.probing(ctx, "killed", probeEvery) // stock consumers have nothing else to be fresh by
	defer func() {
		_, bad := stop()
		err = errors.Join(err, bad)
	}()
	began := time.Now()
	if err := f.restart(); err != nil {
		return err
	}
	f.result.Restarted = time.Since(began)
	took, err := all[[]time.Duration](f.nodes, "fresh", began)
	var each []time.Duration
	for _, t := range took {
		each = append(each, t...)
	}
	f.result.Killed = quantilesOf(each)
	return err
}

// traffic of all servers together.
func (f *fleet) traffic() (sum traffic, err error) {
	ts, err := all[traffic](f.all(), "traffic", struct{}{})
	for _, t := range ts {
		sum.InBytes += t.InBytes
		sum.OutBytes += t.OutBytes
		sum.InMsgs += t.InMsgs
		sum.OutMsgs += t.OutMsgs
		sum.SlowConsumers += t.SlowConsumers
	}
	return sum, err
}
