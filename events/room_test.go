package events_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// Who may send beacons fills the stream with them, but for the room of a beacon, which he goes on to use. Statements are
// refused, and no view may stay young; nor is one that begins then. When there is room again, all is well.
func TestViewsAgeWithoutRoom(t *testing.T) {
	t.Parallel()
	nc, js, p := newStream(t, events.Layout{MaxBytes: 256 << 10}, nil)
	put := func(size int, ttl string) bool {
		m := nats.NewMsg(events.SubjectBeacon)
		m.Data = make([]byte, size)
		m.Header.Set("Nats-TTL", ttl)
		_, err := js.PublishMsg(t.Context(), m)
		if api := (*jetstream.APIError)(nil); err != nil && !errors.As(err, &api) {
			t.Fatal(err)
		}
		return err == nil
	}
	grow := func(bytes int64) {
		s, err := js.Stream(t.Context(), events.StreamName)
		if err != nil {
			t.Fatal(err)
		}
		cfg := s.CachedInfo().Config
		cfg.MaxBytes += bytes
		if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	run := func() *events.Subscriber {
		conn, err := events.Connect(events.ConnectConfig{URL: nc.ConnectedUrl()}) // which it may force to reconnect
		if err != nil {
			t.Fatal(err)
		}
		natstest.Connected(t, conn)
		t.Cleanup(conn.Close)
		s, err := events.NewSubscriber(events.SubscriberConfig{Conn: conn, BeaconInterval: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx, func(context.Context, []events.Event) error { return nil }) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		return s
	}
	s := run()
	waitFor(t, "it is synced", func() bool { return s.Freshness(time.Now()).Synced })

	for _, size := range []int{16000, 4000, 1000, 200, 0} {
		for put(size, "1h") {
		}
	}
	if _, err := p.Publish(t.Context(), session("refused")); !errors.Is(err, events.ErrFull) {
		t.Fatalf("a statement: got %v, want ErrFull", err)
	}
	waitFor(t, "it is noticed", func() bool { return strings.Contains(s.Status().LastError, "the stream is full") })
	late := run()
	waitFor(t, "it is noticed at the start", func() bool { return strings.Contains(late.Status().LastError, "the stream is full") })
	if late.Freshness(time.Now()).Synced {
		t.Error("a view that begins now is synced")
	}
	asOf := s.Freshness(time.Now()).AsOf
	heard := s.Status().Beacons
	grow(4000)
	waitFor(t, "beacons go through", func() bool {
		put(0, "1s")
		return s.Status().Beacons > heard+3
	})
	if st := s.Status(); !strings.Contains(st.LastError, "the stream is full") || !st.AsOf.Equal(asOf) {
		t.Errorf("the view became newer by beacons: %v, was %v; %s", st.AsOf, asOf, st.LastError)
	}
	grow(1 << 20)
	waitFor(t, "there is room, and the views are young", func() bool {
		return s.Freshness(time.Now()).AsOf.After(asOf) && late.Freshness(time.Now()).Synced && s.Status().LastError == ""
	})
	if _, err := p.Publish(t.Context(), session("stored")); err != nil {
		t.Error(err)
	}
}
