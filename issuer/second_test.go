package issuer_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// TestRepairBetweenTwoSeconds: a wide statement is written anew when a second has begun meanwhile, and another replica may have
// published its first form by then. The second form must be told too: it covers tokens that the first does not.
func TestRepairBetweenTwoSeconds(t *testing.T) {
	nats := server(t)
	first := time.Now().Truncate(time.Second)
	var next, armed atomic.Bool
	now := func() time.Time {
		if next.Load() {
			return first.Add(time.Second)
		}
		return first
	}
	b := start(t, nats.URL(), func(c *issuer.Config) { c.Now, c.MaxStaleness, c.RepairInterval = now, time.Hour, time.Hour })
	cfg := b.cfg
	intents := func() int {
		n, err := issuer.Pointers(context.Background(), b.Issuer)
		if err != nil {
			t.Error(err)
		}
		return n
	}
	var between sync.Mutex
	cfg.Now = func() time.Time { // the mark is written: the other one repairs, and then the second passes
		between.Lock()
		defer between.Unlock()
		if armed.Load() && intents() > 0 {
			if err := issuer.Repair(context.Background(), b.Issuer); err != nil || intents() != 0 {
				t.Errorf("repair: %v", err)
			}
			armed.Store(false)
			next.Store(true)
		}
		return now()
	}
	a := startWith(t, nats.URL(), cfg)
	for scope, key := range map[events.Scope]string{events.Client: "quash", events.Issuer: ""} {
		next.Store(false)
		armed.Store(true)
		ack, err := a.Revoke(within(t), events.Revocation{Scope: scope, Key: key, By: "admin", Reason: "test"})
		if err != nil || !next.Load() {
			t.Fatalf("%v: got %v, a second has passed: %v; want a statement", scope, err, next.Load())
		}
		var told []events.Revocation
		for _, s := range b.statements() {
			if s.Scope == scope {
				told = append(told, s)
			}
		}
		if len(told) != 2 || !told[1].Before.Equal(first.Add(time.Second)) || told[1].ID != ack.ID {
			t.Errorf("%v: got %+v, want the repair's statement and one about the second that began, acknowledged", scope, told)
		}
		if n := intents(); n != 0 {
			t.Errorf("%v: got %d intents left, want none", scope, n)
		}
	}
	// Who crashes with the second form written leaves it to the repair, with the ID of the first.
	next.Store(false)
	armed.Store(true)
	issuer.SetFault(a.Issuer, func(step string) error {
		if step == "ending" {
			return errCrash
		}
		return nil
	})
	if _, err := a.Revoke(within(t), events.Revocation{Scope: events.Client, Key: "web"}); !errors.Is(err, errCrash) || !next.Load() {
		t.Fatalf("got %v, a second has passed: %v; want the crash", err, next.Load())
	}
	b.repair()
	var told []events.Revocation
	for _, s := range b.statements() {
		if s.Key == "web" {
			told = append(told, s)
		}
	}
	if len(told) != 2 || !told[1].Before.Equal(first.Add(time.Second)) || intents() != 0 {
		t.Errorf("after a crash: got %+v, %d intents; want both forms and no intent", told, intents())
	}
}

// TestSameStatementASecondLater: who finishes a statement that is published already, with its ID and the same Before, is told so.
func TestSameStatementASecondLater(t *testing.T) {
	c := &stopped{at: time.Now().Truncate(time.Second)}
	r := start(t, server(t).URL(), func(cfg *issuer.Config) { cfg.Now, cfg.MaxStaleness = c.now, time.Hour })
	order := events.Revocation{ID: events.NewID(), Scope: events.Client, Key: "quash", Before: c.now(), By: "policy", Reason: "test"}
	was, err := r.Revoke(within(t), order)
	if err != nil {
		t.Fatal(err)
	}
	c.set(c.now().Add(time.Second))
	again, err := r.Revoke(within(t), order)
	if err != nil || again.ID != was.ID || again.Sequence != was.Sequence {
		t.Errorf("got %+v, %v; want the first one's %+v", again, err, was)
	}
}
