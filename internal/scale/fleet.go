package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quash-auth/quash/events"
)

// fleetConfig is one experiment: a kind of followers behind a topology.
type fleetConfig struct {
	Topology, Kind string
	Nodes          int           // dropped all at once
	Others         int           // that are not dropped
	Children       int           // processes for the nodes
	Statements     int           // one after the other
	Pace           time.Duration // between them
	Burst          int           // all at once
	Lose           int           // see nodesConfig; for testing the harness
}

// fleetResult is what came of it.
type fleetResult struct {
	fleetConfig
	Ready                  quantiles     // all nodes start at once
	Each, Last             quantiles     // publish → applied, paced
	ServerCPU, NodeCPU     time.Duration // per delivery, paced, what an idle fleet uses taken off
	ServerIdle, NodeIdle   float64       // cores, with all nodes connected
	ServerRSS, ServerHeap  int64         // bytes per node
	NodeRSS, NodeHeap      int64
	BurstTook              time.Duration // first publish to last applied
	BurstServer, BurstNode time.Duration // CPU per delivery
	Lost, Unenforced       int
	Again                  int
	Drop                   dropResult
	Still                  dropResult    // the same once more, with nothing published meanwhile
	Killed                 quantiles     // from SIGKILL of the only server until fresh again
	Restarted              time.Duration // of that until the server takes connections again
	Feeds                  events.Status
}

// fleet is a bus with nodes.
type fleet struct {
	fleetConfig
	*bus
	nodes  []*child
	others *child
	result fleetResult

	probe    func(name string) (stop func() (int, error)) // how it is published while something is observed. nil: probing
	patience time.Duration                                // how long statements may take to arrive before they count as lost
}

func startFleet(ctx context.Context, c fleetConfig) (*fleet, error) {
	b, err := startBus(ctx, busConfig{Topology: c.Topology, Many: c.Kind == kindOrdered})
	f := &fleet{fleetConfig: c, bus: b, result: fleetResult{fleetConfig: c}, patience: patience}
	return f, err
}

func (f *fleet) close() error { return errors.Join(endAll(f.crowds()), f.bus.close()) }

func (f *fleet) crowds() []*child {
	if f.others == nil {
		return f.nodes
	}
	return append([]*child{f.others}, f.nodes...)
}

// populate starts the others and then all nodes at once.
func (f *fleet) populate(ctx context.Context) (err error) {
	if f.Kind == kindOrdered { // these send no beacons, and in an empty stream nothing tells them that they work
		stop := f.probing(ctx, "hello", time.Second)
		defer func() {
			_, bad := stop()
			err = errors.Join(err, bad)
		}()
	}
	if f.Others > 0 {
		if f.others, err = spawn("others", "nodes", 0); err != nil {
			return err
		}
		conf := nodesConfig{URL: f.urls[0], Kind: f.Kind, Prefix: "other", Count: f.Others}
		if err := f.others.call("add", conf, nil); err != nil {
			return err
		}
	}
	before, err := sumVitals(f.all(), vitalsOf{Collect: true})
	if err != nil {
		return err
	}
	ready, errs := make([][]time.Duration, f.Children), make([]error, f.Children)
	var empty vitals
	for i := range f.Children {
		c, err := spawn(fmt.Sprintf("nodes-%d", i), "nodes", 0)
		if err != nil {
			return err
		}
		f.nodes = append(f.nodes, c)
	}
	if empty, err = sumVitals(f.nodes, vitalsOf{Collect: true}); err != nil {
		return err
	}
	done := make(chan struct{})
	for i, c := range f.nodes {
		go func() {
			conf := nodesConfig{URL: f.urls[i%len(f.urls)], Kind: f.Kind, Prefix: "fleet", Count: share(f.Nodes, f.Children, i)}
			if i == 0 {
				conf.Lose = f.Lose
			}
			errs[i] = c.call("add", conf, &ready[i])
			done <- struct{}{}
		}()
	}
	var took []time.Duration
	for range f.nodes {
		<-done
	}
	for _, r := range ready {
		took = append(took, r...)
	}
	f.result.Ready = quantilesOf(took)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	after, err := sumVitals(f.all(), vitalsOf{Collect: true})
	if err != nil {
		return err
	}
	full, err := sumVitals(f.nodes, vitalsOf{Collect: true})
	if err != nil {
		return err
	}
	per := int64(max(f.Nodes, 1))
	f.result.ServerRSS, f.result.ServerHeap = (after.RSS-before.RSS)/per, (after.Heap-before.Heap)/per
	f.result.NodeRSS, f.result.NodeHeap = (full.RSS-empty.RSS)/per, (full.Heap-empty.Heap)/per
	return nil
}

// share is how many of n the i-th of so many gets.
func share(n, among, i int) int { return n*(i+1)/among - n*i/among }

// sumVitals adds up what some processes have used and hold.
func sumVitals(children []*child, of vitalsOf) (vitals, error) {
	vs, err := all[vitals](children, "vitals", of)
	var sum vitals
	for _, v := range vs {
		sum.CPU += v.CPU
		sum.RSS += v.RSS
		sum.Heap += v.Heap
		sum.Goroutines += v.Goroutines
	}
	return sum, err
}

// meter measures the CPU that servers and nodes use over a time.
type meter struct {
	f             *fleet
	began         time.Time
	server, nodes time.Duration
}

func (f *fleet) meter() (*meter, error) {
	m := &meter{f: f}
	err := m.read()
	m.began = time.Now()
	return m, err
}

func (m *meter) read() error {
	s, err := sumVitals(m.f.all(), vitalsOf{})
	if err != nil {
		return err
	}
	n, err := sumVitals(m.f.crowds(), vitalsOf{})
	m.server, m.nodes = s.CPU, n.CPU
	return err
}

// end returns what was used since, and in which time.
func (m *meter) end() (server, nodes, took time.Duration, err error) {
	took = time.Since(m.began)
	s, n := m.server, m.nodes
	err = m.read()
	return m.server - s, m.nodes - n, took, err
}

// run is the whole experiment.
func (c fleetConfig) run(ctx context.Context) (r fleetResult, err error) {
	f, err := startFleet(ctx, c)
	defer func() {
		if f != nil && f.bus != nil {
			err = errors.Join(err, f.close())
		}
	}()
	if err != nil {
		return r, err
	}
	steps := []func(context.Context) error{f.populate, f.idle, f.paced, f.burst}
	if c.Kind != kindBare {
		steps = append(steps, f.dropAll, f.dropStill, f.killServer)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return f.result, err
		}
	}
	sts, err := all[events.Status](f.crowds(), "status", struct{}{})
	for _, st := range sts {
		f.result.Feeds.Gaps += st.Gaps
		f.result.Feeds.Rewinds += st.Rewinds
		f.result.Feeds.CatchUps += st.CatchUps
		f.result.Feeds.Forced += st.Forced
		f.result.Feeds.BeaconsSent += st.BeaconsSent
	}
	return f.result, err
}

// idle measures what a fleet costs that has nothing to do.
func (f *fleet) idle(context.Context) error {
	m, err := f.meter()
	if err != nil {
		return err
	}
	time.Sleep(idleFor)
	server, nodes, took, err := m.end()
	f.result.ServerIdle, f.result.NodeIdle = server.Seconds()/took.Seconds(), nodes.Seconds()/took.Seconds()
	return err
}

const idleFor = 2 * time.Second

// collect ends a phase of which so many statements were published.
func (f *fleet) collect(name string, published int, patience time.Duration) (record, error) {
	rs, err := all[record](f.nodes, "collect", phase{Phase: name, Messages: published, Patience: patience})
	if err != nil {
		return record{}, err
	}
	r := merge(rs)
	f.result.Lost += r.lost()
	f.result.Again += r.Again
	if f.Kind == kindBare {
		return r, nil
	}
	missed, err := all[int](f.nodes, "missing", phase{Phase: name, Messages: published, Patience: patience})
	for _, n := range missed {
		f.result.Unenforced += n
	}
	return r, err
}

func (f *fleet) arm(name string, messages int) error {
	_, err := all[struct{}](f.crowds(), "arm", phase{Phase: name, Messages: messages})
	return err
}

// paced publishes one statement after the other.
func (f *fleet) paced(ctx context.Context) error {
	if err := f.arm("paced", f.Statements); err != nil {
		return err
	}
	m, err := f.meter()
	if err != nil {
		return err
	}
	tick := time.NewTicker(f.Pace)
	defer tick.Stop()
	for n := range f.Statements {
		if _, err := f.pub.Publish(ctx, revocation("paced", n)); err != nil {
			return err
		}
		<-tick.C
	}
	server, nodes, took, err := m.end()
	if err != nil {
		return err
	}
	r, err := f.collect("paced", f.Statements, f.patience)
	if err != nil {
		return err
	}
	f.result.Each, f.result.Last = r.each(), r.last()
	deliveries := float64(f.Statements * (f.Nodes + f.Others))
	f.result.ServerCPU = time.Duration((server.Seconds() - f.result.ServerIdle*took.Seconds()) / deliveries * 1e9)
	f.result.NodeCPU = time.Duration((nodes.Seconds() - f.result.NodeIdle*took.Seconds()) / deliveries * 1e9)
	return nil
}

// burst publishes many at once.
func (f *fleet) burst(ctx context.Context) error {
	if f.Burst == 0 {
		return nil
	}
	if err := f.arm("burst", f.Burst); err != nil {
		return err
	}
	m, err := f.meter()
	if err != nil {
		return err
	}
	rs := make([]events.Revocation, f.Burst)
	for n := range rs {
		rs[n] = revocation("burst", n)
	}
	if _, err := f.pub.PublishAll(ctx, rs, nil); err != nil {
		return err
	}
	r, err := f.collect("burst", f.Burst, 2*f.patience)
	if err != nil {
		return err
	}
	server, nodes, _, err := m.end()
	f.result.BurstTook = r.last().Max
	deliveries := time.Duration(f.Burst * (f.Nodes + f.Others))
	f.result.BurstServer, f.result.BurstNode = server/deliveries, nodes/deliveries
	return err
}
