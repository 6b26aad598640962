package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/scale/sim"
)

// TestStorm_counts: a small storm; everything is enforced, and nobody else is refused.
func TestStorm_counts(t *testing.T) {
	t.Parallel()
	r, err := stormConfig{Nodes: 2, Statements: 1500, Workers: 2, Rate: 200, Calm: 200 * time.Millisecond}.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Lost != 0 || r.Unenforced != 0 || r.Again != 0 {
		t.Errorf("%d lost, %d not enforced, %d good tokens not accepted, want none", r.Lost, r.Unenforced, r.Again)
	}
	if r.Each.N != 3000 || r.Doomed < 400 || r.Refused != r.Doomed {
		t.Errorf("%d deliveries counted, want 3000; %d of %d covered tokens refused", r.Each.N, r.Refused, r.Doomed)
	}
	if r.Before.Status[200] == 0 || r.During.Took == 0 {
		t.Errorf("no traffic: %+v", r.Before)
	}
}

// TestBus_noRoom: a server that has no room for the stream is reported at once, and ended once.
func TestBus_noRoom(t *testing.T) {
	t.Parallel()
	b, err := startBus(t.Context(), busConfig{Topology: topoOne, Bytes: 2 << 40})
	if !errors.Is(err, events.ErrFull) || strings.Contains(err.Error(), "hub-0") {
		t.Errorf("startBus: %v", err)
	}
	if err := b.close(); err != nil { // as its callers do
		t.Error(err)
	}
}

// TestRestart_holdsAll: a node that is ready has everything, with a snapshot and
// without; one that has not is reported.
func TestRestart_holdsAll(t *testing.T) {
	t.Parallel()
	c := livingConfig{Statements: 1500, Dir: t.TempDir(), End: time.Now().Add(time.Hour)}
	if _, err := c.fill(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := c.restarts(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Replay) != 1 || len(r.WarmReady) != 1 || r.Snapshot == 0 || r.Disk == 0 {
		t.Errorf("something was not measured: %+v", r)
	}
	c.Statements++
	if _, err := c.restarts(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "statements") {
		t.Errorf("a statement that is not there was not missed: %v", err)
	}
}

// TestMeasured: the measurements that docs/scale.md was written from calibrate the
// simulation.
func TestMeasured(t *testing.T) {
	t.Parallel()
	e, err := readEvidence(measured)
	if err != nil {
		t.Fatal(err)
	}
	c := e.costs()
	for name, d := range map[string]time.Duration{"publish": c.Publish, "store": c.Store, "fan": c.Fan, "apply": c.Apply, "connect": c.Connect, "catch": c.Catch,
		"rejoin": c.Rejoin, "read": c.Read, "take": c.Take} {
		if d <= 0 || d > 10*time.Millisecond {
			t.Errorf("%s costs %v", name, d)
		}
	}
	if len(e.large) == 0 {
		t.Error("there is nothing to hold the simulation to")
	}
	if _, err := readEvidence([]byte("{}\n")); err == nil {
		t.Error("no measurements are enough")
	}
	if _, err := sim.Run(project(c, 1, 300, sim.Leaf)); err != nil {
		t.Error(err)
	}
}
