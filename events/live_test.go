package events_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// TestLiveStatementsKeepTheirOrder: while receipts and the status are asked for, live statements are applied
// once each, in the order of the stream, and a receipt is given for what is in force only.
func TestLiveStatementsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	ensure(t, nc)
	s, err := events.NewSubscriber(events.SubscriberConfig{Conn: srv.Connect(t)})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var last uint64
	var back []string
	applied := make(map[string]bool)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- s.Run(ctx, func(_ context.Context, batch []events.Event) error {
			mu.Lock()
			defer mu.Unlock()
			for _, e := range batch {
				if e.Sequence <= last {
					back = append(back, fmt.Sprintf("%d after %d", e.Sequence, last))
				}
				last = e.Sequence
				applied[e.Revocation.Key] = true
			}
			return nil
		})
	}()
	defer func() { cancel(); <-done }()
	eventually(t, "synced", func() bool { return s.Freshness(time.Now()).Synced })
	const publishers, each, burst = 3, 40, 300
	var wg sync.WaitGroup
	for i := range publishers {
		p, q := publisher(t, srv.Connect(t)), publisher(t, srv.Connect(t))
		wg.Go(func() {
			rs := make([]events.Revocation, burst)
			for j := range rs {
				rs[j] = sessionRevocation(fmt.Sprintf("b%d-%d", i, j))
			}
			if res, err := q.PublishAll(ctx, rs, nil); err != nil || len(res.Failed) > 0 {
				t.Errorf("PublishAll: %v, %d failed", err, len(res.Failed))
			}
		})
		wg.Go(func() {
			for j := range each {
				key := fmt.Sprintf("s%d-%d", i, j)
				ack, err := p.Publish(ctx, sessionRevocation(key))
				if err == nil {
					err = s.WaitApplied(ctx, events.Position{Sequence: ack.Sequence})
				}
				mu.Lock()
				if err != nil || !applied[key] {
					t.Errorf("%s: %v, applied %v", key, err, applied[key])
				}
				mu.Unlock()
				s.Status()
			}
		})
	}
	wg.Wait()
	if err := s.WaitApplied(ctx, events.Position{Sequence: publish(t, publisher(t, nc), sessionRevocation("last")).Sequence}); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	const all = publishers*(each+burst) + 1
	if len(applied) != all {
		t.Errorf("%d of %d statements applied", len(applied), all)
	}
	switch st := s.Status(); {
	case st.Reconnects > 0:
		t.Log("the link was lost: statements were read again")
	case len(back) > 0 || st.Gaps > 0 || st.Events != all:
		t.Errorf("%d gaps, %d statements applied, want %d; %v", st.Gaps, st.Events, all, back)
	}
}

// TestBeaconTimerIsSetOnce: a message puts the beacon off and leaves the timer alone; a beacon is due one patience after the
// last one, also by a clock that is set.
func TestBeaconTimerIsSetOnce(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	b, err := events.NewBeaconTimer(natstest.Start(t).Connect(t), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	_, first := b.Left()
	for range 100 {
		now = now.Add(10 * time.Millisecond)
		b.Hear(now)
		if _, fires := b.Left(); !fires.Equal(first) {
			t.Fatalf("the timer was set again: %v, before %v", fires, first)
		}
	}
	b.Fire()
	if b.Sent() != 0 {
		t.Error("a beacon is sent although messages come")
	}
	wait, fires := b.Left()
	if !fires.After(first) || wait < time.Second || wait > 1500*time.Millisecond {
		t.Errorf("after the last message the timer is set for %v", wait)
	}
	now = now.Add(wait)
	b.Fire()
	if b.Sent() != 1 {
		t.Errorf("nothing came any more, and %d beacons were sent", b.Sent())
	}
	now = now.Add(-time.Hour)
	b.Hear(now)
	if _, fires := b.Left(); fires.Sub(now) > 1500*time.Millisecond {
		t.Errorf("the clock was set back, and the timer fires at %v by the new time, now %v", fires, now)
	}
	now = now.Add(-time.Hour)
	if wait, _ := b.Left(); wait > 1500*time.Millisecond {
		t.Errorf("the clock was set back again, and the next beacon is due in %v", wait)
	}
	b.Fire()
	if b.Sent() != 2 {
		t.Errorf("%d beacons after the clock was set back, want 2", b.Sent())
	}
}
