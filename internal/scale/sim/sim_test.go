package sim_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/quash-auth/quash/internal/scale/sim"
)

var costs = sim.Costs{Publish: 20 * time.Microsecond, Store: 200 * time.Microsecond, Fan: 10 * time.Microsecond, Apply: 10 * time.Microsecond, FanMore: 2 * time.Microsecond, ApplyMore: 3 * time.Microsecond,
	Connect: 400 * time.Microsecond, Catch: 400 * time.Microsecond, Rejoin: 500 * time.Microsecond, Read: 2 * time.Microsecond, Take: 3 * time.Microsecond}

const us, millisecond = time.Microsecond, time.Millisecond

func fleet(nodes int, shape sim.Shape) sim.Fleet {
	return sim.Fleet{Costs: costs, Seed: 1, Nodes: nodes, Shape: shape, Regions: []time.Duration{0, 40 * millisecond, 80 * millisecond},
		Near: 200 * us, Servers: 3, PerRegion: 2, Cores: 4, Statements: 20, Every: 50 * millisecond}
}

func run(t *testing.T, f sim.Fleet) sim.Outcome {
	t.Helper()
	o, err := sim.Run(f)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestNothingIsLost: whatever happens, every node applies every statement, and each
// is counted once.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	for _, shape := range []sim.Shape{sim.Direct, sim.Leaf, sim.Mirror} {
		for name, change := range map[string]func(*sim.Fleet){
			"quiet":    func(*sim.Fleet) {},
			"drop":     func(f *sim.Fleet) { f.Drop = true },
			"few":      func(f *sim.Fleet) { f.Drop, f.MaxReaders = true, 3 },
			"swamped":  func(f *sim.Fleet) { f.Drop, f.Connect = true, 50*millisecond },
			"join":     func(f *sim.Fleet) { f.Joiners, f.Stored = 50, 5000 },
			"polite":   func(f *sim.Fleet) { f.Joiners, f.Stored, f.Polite = 50, 5000, 2*millisecond },
			"one host": func(f *sim.Fleet) { f.Shared, f.Processes, f.Drop, f.Joiners, f.Stored = 2, 4, true, 20, 700 },
		} {
			f := fleet(300, shape)
			change(&f)
			o := run(t, f)
			if want := f.Nodes * f.Statements; o.Delivered != want || slices.Contains(o.Took, -1) {
				t.Errorf("%v, %s: %d applied, want %d", shape, name, o.Delivered, want)
			}
			if f.Drop && slices.Contains(o.Fresh, 0) {
				t.Errorf("%v, %s: a node did not come back", shape, name)
			}
			if !f.Drop && o.Twice != 0 {
				t.Errorf("%v, %s: %d delivered twice", shape, name, o.Twice)
			}
			if f.Joiners != len(o.Joined) || slices.Contains(o.Joined, 0) {
				t.Errorf("%v, %s: %d joined, want %d", shape, name, len(o.Joined), f.Joiners)
			}
		}
	}
}

// TestSameSeed: the same seed gives the same outcome, another one another.
func TestSameSeed(t *testing.T) {
	t.Parallel()
	f := fleet(200, sim.Leaf)
	f.Drop = true
	a, b := run(t, f), run(t, f)
	if !slices.Equal(a.Took, b.Took) || !slices.Equal(a.Fresh, b.Fresh) {
		t.Error("two runs differ")
	}
	f.Seed++
	if c := run(t, f); slices.Equal(a.Took, c.Took) {
		t.Error("another seed changes nothing")
	}
}

// TestCausality: nothing is faster than its way and its work.
func TestCausality(t *testing.T) {
	t.Parallel()
	for _, shape := range []sim.Shape{sim.Direct, sim.Leaf, sim.Mirror} {
		f := fleet(300, shape)
		o := run(t, f)
		for i := range f.Nodes {
			least := costs.Publish + costs.Store + costs.Fan + costs.Apply + max(f.Regions[i%len(f.Regions)], f.Near)
			if shape == sim.Mirror {
				least += costs.Publish + costs.Store
			}
			for n := range f.Statements {
				if took := o.Took[n*f.Nodes+i]; took < least {
					t.Fatalf("%v: node %d has statement %d after %v, the way and the work take %v", shape, i, n, took, least)
				}
			}
		}
	}
}

// TestWorkIsConserved: the machines have done what was to be done, no more and no
// less.
func TestWorkIsConserved(t *testing.T) {
	t.Parallel()
	f := fleet(300, sim.Direct)
	o := run(t, f)
	others := f.Servers - 1
	server := time.Duration(f.Statements) * (costs.Publish + costs.Fan*time.Duration(f.Nodes+others))
	if o.ServerCPU != server {
		t.Errorf("the servers used %v, want %v", o.ServerCPU, server)
	}
	if node := time.Duration(f.Statements*f.Nodes) * costs.Apply; o.NodeCPU != node {
		t.Errorf("the nodes used %v, want %v", o.NodeCPU, node)
	}
}

// TestMoreIsNotFaster: a bigger fleet, longer ways and dearer work do not make the
// last node faster; more cores do not make it slower.
func TestMoreIsNotFaster(t *testing.T) {
	t.Parallel()
	for _, shape := range []sim.Shape{sim.Direct, sim.Leaf, sim.Mirror} {
		slower := map[string]func(*sim.Fleet){
			"ten times the nodes": func(f *sim.Fleet) { f.Nodes *= 10 },
			"twice the way":       func(f *sim.Fleet) { f.Regions = []time.Duration{0, 80 * millisecond, 160 * millisecond} },
			"dear deliveries":     func(f *sim.Fleet) { f.Fan *= 10 },
			"dear work":           func(f *sim.Fleet) { f.Apply *= 1000 },
			"one core":            func(f *sim.Fleet) { f.Cores = 1 },
			"a slow disk":         func(f *sim.Fleet) { f.Store *= 100 },
		}
		base := worst(run(t, fleet(200, shape)).Last)
		for name, change := range slower {
			f := fleet(200, shape)
			change(&f)
			if got := worst(run(t, f).Last); got < base {
				t.Errorf("%v, %s: the last node took %v, before %v", shape, name, got, base)
			}
		}
		few, many := fleet(200, shape), fleet(2000, shape)
		few.Drop, many.Drop = true, true
		if a, b := worst(run(t, few).Fresh), worst(run(t, many).Fresh); b < a {
			t.Errorf("%v: 2,000 nodes are fresh again after %v, 200 after %v", shape, b, a)
		}
	}
}

// TestReadersAreFelt: who reads delays the rest, and less so if it pauses.
func TestReadersAreFelt(t *testing.T) {
	t.Parallel()
	f := fleet(300, sim.Direct)
	f.Servers, f.Cores = 1, 2
	quiet := worst(run(t, f).Last)
	f.Joiners, f.Stored = 100, 30_000
	rude := worst(run(t, f).Last)
	f.Polite = 5 * millisecond
	polite := worst(run(t, f).Last)
	if quiet >= polite || polite >= rude {
		t.Errorf("the last node takes %v, with readers %v, with polite ones %v", quiet, rude, polite)
	}
}

// TestSlots: with slots readers are felt less, the first is done early, and all get done; without enough of them
// in time the rest read all the same.
func TestSlots(t *testing.T) {
	t.Parallel()
	f := fleet(300, sim.Direct)
	f.Servers, f.Cores, f.Regions = 1, 2, []time.Duration{0}
	f.Joiners, f.Stored = 100, 30_000
	all := run(t, f)
	f.Slots = 4
	turns := run(t, f)
	if worst(turns.Last) >= worst(all.Last) {
		t.Errorf("the last node takes %v with slots, %v without", worst(turns.Last), worst(all.Last))
	}
	if a, b := slices.Min(turns.Joined), slices.Min(all.Joined); 4*a > b {
		t.Errorf("the first has read after %v with slots, after %v without", a, b)
	}
	if turns.Waited != f.Joiners-f.Slots || turns.Slotless != 0 || slices.Min(turns.Joined) <= 0 {
		t.Errorf("%d waited, %d in vain, the first took %v", turns.Waited, turns.Slotless, slices.Min(turns.Joined))
	}
	f.SlotWait = millisecond
	if o := run(t, f); o.Slotless == 0 || slices.Min(o.Joined) <= 0 {
		t.Errorf("%d read without a slot", o.Slotless)
	}
}

// TestLimits: a stream that allows few readers refuses, a swamped server lets
// connections time out, and both are counted.
func TestLimits(t *testing.T) {
	t.Parallel()
	f := fleet(300, sim.Direct)
	f.Drop = true
	if o := run(t, f); o.Refused != 0 || o.TimedOut != 0 {
		t.Errorf("%d refused, %d timed out, want none", o.Refused, o.TimedOut)
	}
	f.MaxReaders = 2
	if o := run(t, f); o.Refused == 0 {
		t.Error("nobody was refused")
	}
	f.Connect, f.Cores, f.Servers = 50*millisecond, 1, 1
	if o := run(t, f); o.TimedOut == 0 {
		t.Error("no connection took too long")
	}
	for name, bad := range map[string]sim.Fleet{"empty": {}, "no statements": {Nodes: 1, Regions: f.Regions, Cores: 1}, "no cores": {Nodes: 1, Regions: f.Regions, Statements: 1}} {
		if _, err := sim.Run(bad); !errors.Is(err, sim.ErrFleet) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func worst(d []time.Duration) time.Duration { return slices.Max(d) }
