package main

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/quash-auth/quash/internal/leaks"
)

// TestMain also plays the parts of the children.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "child" {
		if err := runChild(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	leaks.Main(m)
}

// TestFleet_counts is the short form: everything that was published arrives at every
// node, each exactly once, and is enforced there.
func TestFleet_counts(t *testing.T) {
	t.Parallel()
	const nodes, paced, burst = 20, 10, 2000
	c := fleetConfig{Topology: topoOne, Kind: kindFeed, Nodes: nodes, Others: 2, Children: 2, Statements: paced, Pace: 10 * time.Millisecond, Burst: burst}
	r, err := c.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Lost != 0 || r.Unenforced != 0 {
		t.Errorf("%d lost, %d not enforced, want none", r.Lost, r.Unenforced)
	}
	if r.Each.N != nodes*paced || r.Last.N != paced {
		t.Errorf("%d deliveries of %d statements counted, want %d of %d", r.Each.N, r.Last.N, nodes*paced, paced)
	}
	if r.Ready.N != nodes || r.Drop.Dropped != nodes || r.Drop.Fresh.N != nodes {
		t.Errorf("%d nodes got ready, %d were dropped, %d got fresh again, want %d each", r.Ready.N, r.Drop.Dropped, r.Drop.Fresh.N, nodes)
	}
	if r.Drop.During.N == 0 || r.Drop.During.N%2 != 0 {
		t.Errorf("the two that were not dropped have %d deliveries", r.Drop.During.N)
	}
}

// TestFleet_reportsLoss: one node that silently throws statements away is found, twice.
func TestFleet_reportsLoss(t *testing.T) {
	t.Parallel()
	const paced, every = 30, 7
	c := fleetConfig{Topology: topoOne, Kind: kindFeed, Nodes: 4, Children: 2, Statements: paced, Pace: time.Millisecond, Lose: every}
	f, err := startFleet(t.Context(), c)
	defer func() {
		if err := f.close(); err != nil {
			t.Error(err)
		}
	}()
	if err != nil {
		t.Fatal(err)
	}
	f.patience = 20 * time.Second // for those that are lost; one that is late by as much is no news
	if err := f.populate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.paced(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := paced / every; f.result.Lost != want || f.result.Unenforced != want {
		t.Errorf("%d lost, %d not enforced, want %d each", f.result.Lost, f.result.Unenforced, want)
	}
	if f.result.Last.N != paced-paced/every {
		t.Errorf("%d statements count as complete, want %d", f.result.Last.N, paced-paced/every)
	}
}

// TestRecord: what is missing, what is late, what is foreign.
func TestRecord(t *testing.T) {
	t.Parallel()
	var r recorder
	r.arm("p", 3, 2)
	at := time.Now().Add(-40 * time.Millisecond)
	r.note(0, eventsOf(statementID("p", 0, at), statementID("p", 2, at), "q.1.5", "px.1.5", "p.9.5", "p.-1.5", "p.x.5", "p", ""))
	r.note(0, eventsOf(statementID("p", 2, at)))
	r.note(1, eventsOf(statementID("p", 0, at.Add(-10*time.Minute))))
	got := r.collect(3, 0)
	if got.lost() != 3 || got.Again != 1 {
		t.Errorf("%d lost, %d again, want 3 and 1", got.lost(), got.Again)
	}
	last := got.last()
	if last.N != 1 || last.Max < 10*time.Minute || last.Max > 20*time.Minute {
		t.Errorf("the last node took %v", last)
	}
	if each := got.each(); each.N != 3 || each.P50 < 40*time.Millisecond || each.P50 >= 10*time.Minute {
		t.Errorf("each took %v", each)
	}
	if n := numberOf(statementID("p", 6, at)); n != 6 {
		t.Errorf("statement 6 is number %d", n)
	}
	r.note(0, eventsOf(statementID("p", 1, at))) // nobody listens
	if got.Took[0][1] != missing {
		t.Error("a phase that is over was changed")
	}
}

// TestFleet_leaf: nodes behind leaf nodes get and enforce everything as well.
func TestFleet_leaf(t *testing.T) {
	t.Parallel()
	c := fleetConfig{Topology: topoLeaf, Kind: kindFeed, Nodes: 6, Others: 2, Children: 2, Statements: 5, Pace: 10 * time.Millisecond, Burst: 300}
	r, err := c.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Lost != 0 || r.Unenforced != 0 || r.Each.N != 30 || r.Drop.Fresh.N != 6 {
		t.Errorf("%d lost, %d not enforced, %d deliveries, %d fresh again", r.Lost, r.Unenforced, r.Each.N, r.Drop.Fresh.N)
	}
}
