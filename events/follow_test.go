package events_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
)

const (
	testIssuer = "https://issuer.example"

	// patience is a limit for a broken run: nothing that works waits for it, however slow the machine is.
	patience = 3 * time.Minute
)

// eventually waits until cond is true, which no event announces.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("never happened: %s", what)
		}
	}
}

// state is what a follower has applied.
type state struct {
	mu   sync.Mutex
	keys map[string]uint64 // revocation key → stream sequence
	fail error
}

func (s *state) apply(_ context.Context, batch []events.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	for _, e := range batch {
		s.keys[e.Revocation.Key] = e.Sequence
	}
	return nil
}

func (s *state) setFail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

func (s *state) has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.keys[key]
	return ok
}

func (s *state) copy() map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.keys)
}

type followerUnderTest struct {
	*events.Subscriber
	*state
	nc  *nats.Conn
	end func() error // stops Run, once
}

func (f *followerUnderTest) stop(t testing.TB) {
	t.Helper()
	if err := f.end(); err != nil {
		t.Errorf("Run: %v", err)
	}
}

// follow starts a follower with a short beacon interval; it ends with the test.
func follow(t testing.TB, url string, change ...func(*events.SubscriberConfig)) *followerUnderTest {
	t.Helper()
	return startFollower(t, url, nil, change...)
}

// calm makes a follower that does not take its link for deaf when the server stands still for seconds, and so reads
// nothing twice. Its own beacons are too rare to wait for.
func calm(c *events.SubscriberConfig) { c.BeaconInterval = 20 * time.Second }

// startFollower calls prepare before Run.
func startFollower(t testing.TB, url string, prepare func(*events.Subscriber), change ...func(*events.SubscriberConfig)) *followerUnderTest {
	t.Helper()
	nc, err := events.Connect(events.ConnectConfig{URL: url, Name: t.Name()})
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	c := events.SubscriberConfig{Conn: nc, BeaconInterval: 100 * time.Millisecond}
	for _, f := range change {
		f(&c)
	}
	s, err := events.NewSubscriber(c)
	if err != nil {
		t.Fatalf("NewSubscriber: %v", err)
	}
	if prepare != nil {
		prepare(s)
	}
	st := &state{keys: make(map[string]uint64)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, st.apply) }()
	f := &followerUnderTest{Subscriber: s, state: st, nc: nc, end: sync.OnceValue(func() error {
		cancel()
		err := <-done
		nc.Close()
		return err
	})}
	t.Cleanup(func() { f.stop(t) })
	return f
}

// fresh waits until the follower has a view younger than the instant of the call.
func (f *followerUnderTest) fresh(t testing.TB) {
	t.Helper()
	since := time.Now()
	defer func() {
		if t.Failed() {
			t.Logf("%+v", f.Status())
		}
	}()
	eventually(t, "a fresh view", func() bool {
		fr := f.Freshness(time.Now())
		return fr.Synced && fr.AsOf.After(since)
	})
}

// apiOf is JetStream's API over a connection. A question without a deadline is for a server that stays: its answer comes,
// if late. Where servers go, one that was lost would be waited for.
func apiOf(t testing.TB, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func ensure(t testing.TB, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js := apiOf(t, nc)
	settles(t, "the stream exists", func(ctx context.Context) error {
		_, err := events.EnsureStream(ctx, js, events.Layout{})
		return err
	})
	return js
}

// settles asks until there is no error. A question may be lost on its way to a server that goes, or has no leader.
func settles(t testing.TB, what string, ask func(context.Context) error) {
	t.Helper()
	var err error
	defer func() {
		if err != nil {
			t.Logf("%s: %v", what, err)
		}
	}()
	eventually(t, what, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err = ask(ctx)
		return err == nil
	})
}

func sessionRevocation(key string) events.Revocation {
	return events.Revocation{Issuer: testIssuer, Scope: events.Session, Key: key, By: "admin"}
}

// ledger publishes statements until stop and keeps those the server acknowledged.
type ledger struct {
	mu    sync.Mutex
	acked map[string]bool
	err   error // the newest refusal
	stop  context.CancelFunc
	done  chan struct{}
}

func startLedger(t testing.TB, url, prefix string) *ledger {
	t.Helper()
	nc, err := events.Connect(events.ConnectConfig{URL: url, Name: "ledger"})
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	p, err := events.NewPublisher(events.PublisherConfig{Conn: nc})
	if err != nil {
		t.Fatalf("NewPublisher: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &ledger{acked: make(map[string]bool), stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		pace := time.NewTicker(time.Millisecond)
		defer pace.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			key := fmt.Sprintf("%s-%d", prefix, i)
			pctx, pcancel := context.WithTimeout(ctx, 500*time.Millisecond)
			_, err := p.Publish(pctx, sessionRevocation(key))
			l.mu.Lock()
			if err == nil {
				l.acked[key] = true
			} else {
				l.err = err
			}
			l.mu.Unlock()
			pcancel()
			<-pace.C
		}
	}()
	t.Cleanup(func() { l.end(); nc.Close() })
	return l
}

func (l *ledger) end() { l.stop(); <-l.done }

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// grows waits until n more statements were acknowledged.
func (l *ledger) grows(t testing.TB, n int) {
	t.Helper()
	from := l.count()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("ledger: %d acknowledged, newest refusal: %v", l.count(), l.err)
		}
	})
	eventually(t, fmt.Sprintf("%d more acknowledged statements", n), func() bool { return l.count() >= from+n })
}

// check ends the ledger and demands that every follower applied all of it.
func (l *ledger) check(t testing.TB, followers ...*followerUnderTest) {
	t.Helper()
	l.end()
	for i, f := range followers {
		f.fresh(t)
		missing := 0
		have := f.copy()
		for key := range l.acked {
			if _, ok := have[key]; !ok {
				missing++
			}
		}
		if missing > 0 || len(l.acked) == 0 {
			t.Errorf("follower %d: %d of %d acknowledged statements missing; status %+v", i, missing, len(l.acked), f.Status())
		}
	}
}

var errApply = errors.New("no room")

// beacon publishes one that the stream keeps for so long.
func beacon(t testing.TB, js jetstream.JetStream, life string) (sequence uint64) {
	t.Helper()
	m := nats.NewMsg(events.SubjectBeacon)
	m.Header.Set("Nats-TTL", life)
	ack, err := js.PublishMsg(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return ack.Sequence
}

// gone waits until the stream has dropped a message.
func gone(t testing.TB, js jetstream.JetStream, sequence uint64) {
	t.Helper()
	stream, err := js.Stream(t.Context(), events.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, fmt.Sprintf("message %d is gone", sequence), func() bool {
		_, err := stream.GetMsg(t.Context(), sequence)
		return errors.Is(err, jetstream.ErrMsgNotFound)
	})
}
