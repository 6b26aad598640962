package events_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// TestReadingThatBreaksWithinABatch: a reading ends while statements are decoded that were not handed over, and the message up to which
// they were is not there any more. The next reading goes on from an older one, not from one of those.
func TestReadingThatBreaksWithinABatch(t *testing.T) {
	t.Parallel()
	for life := 3 * time.Second; !breaksWithinABatch(t, life); life *= 2 {
		t.Logf("the message was gone before it was read: it lives longer than %v next time", life)
	}
}

// breaksWithinABatch is false if that message, which lives so long, may have gone before it was read.
func breaksWithinABatch(t *testing.T, life time.Duration) bool {
	t.Helper()
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	js := ensure(t, nc)
	const total, handed = 2000, 6 * 256 // one batch is being applied, four wait, and one is about to
	rs := make([]events.Revocation, total)
	for i := range rs {
		rs[i] = sessionRevocation(fmt.Sprint("s", i))
	}
	now := time.Now() // the publisher's, which stands still: what it publishes is never too late
	rs[handed-1].Until = now.Add(life)
	p, err := events.NewPublisher(events.PublisherConfig{Conn: nc, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	publishAll(t, p, rs)
	s, err := events.NewSubscriber(events.SubscriberConfig{Conn: srv.Connect(t), CatchUpBatch: 100, BeaconInterval: 20 * time.Second}) // it waits for no beacon
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	have := make(map[string]bool)
	release := make(chan struct{})
	open := sync.OnceFunc(func() { close(release) })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- s.Run(ctx, func(_ context.Context, batch []events.Event) error {
			<-release
			mu.Lock()
			defer mu.Unlock()
			for _, e := range batch {
				have[e.Revocation.Key] = true
			}
			return nil
		})
	}()
	defer func() { cancel(); open(); <-done }()
	stream, err := js.Stream(t.Context(), events.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	var reader string
	eventually(t, "more is delivered than can be handed over", func() bool {
		for name := range stream.ConsumerNames(t.Context()).Name() {
			c, err := stream.Consumer(t.Context(), name)
			if err == nil && c.CachedInfo().Delivered.Stream > handed+50 {
				reader = name
			}
		}
		return reader != ""
	})
	if _, err := stream.GetMsg(t.Context(), handed); errors.Is(err, jetstream.ErrMsgNotFound) {
		return false
	}
	gone(t, js, handed)
	// One that nobody has read from for long is gone by itself.
	if err := stream.DeleteConsumer(t.Context(), reader); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		t.Fatal(err)
	}
	open()
	eventually(t, "synced", func() bool { return s.Freshness(time.Now()).Synced })
	mu.Lock()
	defer mu.Unlock()
	missing := 0
	for i := range total {
		if !have[fmt.Sprint("s", i)] {
			missing++
		}
	}
	if missing > 0 || s.Status().CatchUps < 2 {
		t.Errorf("%d of %d statements are missing after %d readings", missing, total, s.Status().CatchUps)
	}
	return true
}
