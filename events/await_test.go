package events_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
)

// TestRevokeAndWaitRemembers: a node that a publisher heard of within the last minute is named when it falls silent, then forgotten.
func TestRevokeAndWaitRemembers(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var later time.Duration
	nc, _, p := newStream(t, events.Layout{}, func(c *events.PublisherConfig) {
		c.Now = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(later)
		}
	})
	a, leave := join(t, nc, "a", nil)
	a.apply(1000)
	receipt := func(wait time.Duration) events.Receipt {
		t.Helper()
		r, err := events.RevokeAndWait(t.Context(), nc, p, session("s"), wait)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	waitFor(t, "a is heard of", func() bool { return names(receipt(patience).Answered) == "a" })
	leave()
	r := receipt(300 * time.Millisecond)
	if len(r.Silent) != 1 || r.Silent[0].Node != "a" || !r.Silent[0].DeniesBy.Equal(r.Stored.Add(30*time.Second)) {
		t.Fatalf("a moment later: got %v, want that a did not confirm and denies 30 s after %v", r, r.Stored)
	}
	mu.Lock()
	later = 2 * time.Minute
	mu.Unlock()
	if r := receipt(300 * time.Millisecond); len(r.Silent)+len(r.Answered) != 0 {
		t.Errorf("two minutes later: got %v, want nobody", r)
	}
}

// TestRevokeAndWaitExpects: who is expected by name is waited for longer than a census lasts, and named if it does not come.
func TestRevokeAndWaitExpects(t *testing.T) {
	t.Parallel()
	nc, _, p := newStream(t, events.Layout{}, nil)
	quick, _ := join(t, nc, "quick", nil)
	quick.apply(1000)
	free := make(chan struct{})
	held := sync.OnceFunc(func() { close(free) })
	t.Cleanup(held)
	var mu sync.Mutex
	busy := false
	slow, _ := join(t, nc, "slow", func(c *events.ResponderConfig) {
		report := c.Report
		c.Report = func() events.Report {
			mu.Lock()
			hold := busy
			mu.Unlock()
			if hold {
				<-free
			}
			return report()
		}
	})
	slow.apply(1000)
	mu.Lock()
	busy = true
	mu.Unlock()
	// It is stuck until the statement is stored and the census of the others long over.
	live, err := nc.Subscribe("quash.live.>", func(*nats.Msg) { time.AfterFunc(time.Second, held) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = live.Unsubscribe() }()
	r, err := events.RevokeAndWait(t.Context(), nc, p, session("s"), patience, "quick", "slow", "slow")
	if err != nil || names(r.Answered) != "quick slow" || !r.Complete() {
		t.Errorf("one that is slow: got %v, %v", r, err)
	}
	r, err = events.RevokeAndWait(t.Context(), nc, p, session("s"), 500*time.Millisecond, "never")
	if err != nil || !strings.Contains(r.String(), "; no confirmation from never, which was not heard of") {
		t.Errorf("one that is not there: got %v, %v", r, err)
	}
	if _, bounded := r.EnforcedBy(); bounded {
		t.Error("nothing is known of a node that was not heard of: there is no bound")
	}
}
