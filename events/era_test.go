package events_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// TestEventsSayWhichStreamTheyAreOf: a reading of the stream before is in the middle of applying when the stream is made anew; what it
// still delivers afterwards is not of the new one.
func TestEventsSayWhichStreamTheyAreOf(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	js := ensure(t, nc)
	p := publisher(t, nc)
	publish(t, p, sessionRevocation("first"))
	s, err := events.NewSubscriber(events.SubscriberConfig{Conn: srv.Connect(t), BeaconInterval: 200 * time.Millisecond, Silent: true})
	if err != nil {
		t.Fatal(err)
	}
	var fail, hold atomic.Bool
	var wrong, fresh atomic.Int64
	held, release := make(chan struct{}), make(chan struct{})
	apply := func(ctx context.Context, b []events.Event) error {
		if fail.Load() {
			return errApply
		}
		for _, e := range b {
			switch old := strings.HasPrefix(e.Revocation.Key, "old"); {
			case old && e.Rewinds > 0:
				wrong.Add(1)
			case e.Revocation.Key == "new" && e.Rewinds > 0:
				fresh.Add(1)
			}
		}
		if hold.CompareAndSwap(true, false) {
			close(held)
			<-release
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, apply) }()
	defer func() { cancel(); <-done }()
	eventually(t, "synced", func() bool { return s.Freshness(time.Now()).Synced })
	fail.Store(true)
	rs := make([]events.Revocation, 1400) // more than one batch
	for i := range rs {
		rs[i] = sessionRevocation(fmt.Sprintf("old%d", i))
	}
	publishAll(t, p, rs)
	hold.Store(true)
	fail.Store(false)
	<-held
	if err := js.DeleteStream(t.Context(), events.StreamName); err != nil {
		t.Fatal(err)
	}
	ensure(t, nc)
	publish(t, p, sessionRevocation("new"))
	close(release)
	eventually(t, "the new stream was read", func() bool { return s.Status().Rewinds > 0 && fresh.Load() > 0 })
	if n := wrong.Load(); n > 0 {
		t.Errorf("%d statements of the stream before are said to be of the new one", n)
	}
}

// TestCatchUpSaysWhichStreamItIsOf: what is read from the store is of the reading that reads it. In a second Run nothing else delivers.
func TestCatchUpSaysWhichStreamItIsOf(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	js := ensure(t, nc)
	p := publisher(t, nc)
	s, err := events.NewSubscriber(events.SubscriberConfig{Conn: srv.Connect(t), BeaconInterval: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	run := func() (stamp func(key string) (uint64, bool), stop func()) {
		var stamps sync.Map
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- s.Run(ctx, func(_ context.Context, b []events.Event) error {
				for _, e := range b {
					stamps.Store(e.Revocation.Key, e.Rewinds)
				}
				return nil
			})
		}()
		stamp = func(key string) (uint64, bool) {
			n, ok := stamps.Load(key)
			if !ok {
				return 0, false
			}
			return n.(uint64), true
		}
		return stamp, func() { cancel(); <-done }
	}
	publish(t, p, sessionRevocation("first"))
	stamp, stop := run()
	eventually(t, "the first stream was read", func() bool { _, ok := stamp("first"); return ok && s.Freshness(time.Now()).Synced })
	if n, _ := stamp("first"); n != 0 {
		t.Errorf("the first stream's is of reading %d", n)
	}
	if err := js.DeleteStream(t.Context(), events.StreamName); err != nil {
		t.Fatal(err)
	}
	ensure(t, nc)
	publish(t, p, sessionRevocation("second"))
	eventually(t, "the second stream was read", func() bool { n, ok := stamp("second"); return ok && n > 0 })
	stop()
	want := s.Status().Rewinds
	again, stop := run()
	defer stop()
	eventually(t, "it was read again", func() bool { _, ok := again("second"); return ok })
	if n, _ := again("second"); n != want || want == 0 {
		t.Errorf("the second stream's is of reading %d, want %d", n, want)
	}
}
