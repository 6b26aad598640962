package issuer_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/internal/snapshot"
	"github.com/quash-auth/quash/issuer"
)

// TestWholeIsNotSaidOfAnOlderCopy: the server comes back with an older copy of the stream, created at the same time, and soon longer than
// what the issuer has seen. Before its feed has looked the issuer knows nothing of it.
func TestWholeIsNotSaidOfAnOlderCopy(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	r := start(t, s.URL(), func(c *issuer.Config) {
		c.Ledger, c.BeaconInterval = filepath.Join(t.TempDir(), "ledger"), time.Second
	})
	applied := func(statements map[string]events.Revocation) {
		t.Helper()
		for _, st := range statements {
			until(t, "applied", func() bool { return issuer.Holds(r.Issuer, st) })
		}
	}
	copyTo := func(to, from string) {
		t.Helper()
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	applied(businessSystem(t, r, "a", 5))
	until(t, "compared", func() bool { return issuer.Compared(r.Issuer) })
	s.Stop()
	older := filepath.Join(t.TempDir(), "older")
	copyTo(older, s.Dir())
	s.Restart(t)
	until(t, "the issuer finds it whole", func() bool {
		a, err := events.AskWhole(t.Context(), r.cfg.Conn)
		return err == nil && len(a) > 0 && !a[0].At.Stream.IsZero()
	})
	lost := businessSystem(t, r, "lost", 3)
	applied(lost)
	s.Stop()
	if err := os.RemoveAll(s.Dir()); err != nil {
		t.Fatal(err)
	}
	copyTo(s.Dir(), older)
	s.Restart(t)
	nc := s.Connect(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	p, err := events.NewPublisher(events.PublisherConfig{Conn: nc, By: "policy"})
	if err != nil {
		t.Fatal(err)
	}
	rs := make([]events.Revocation, 30)
	for n := range rs {
		rs[n] = events.Revocation{Issuer: iss, Scope: events.Session, Key: fmt.Sprint("after", n)}
	}
	if _, err := p.PublishAll(within(t), rs, nil); err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(within(t), events.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "it is said to be whole, and is", func() bool {
		w := issuer.SayWhole(r.Issuer)
		if !w.At.Stream.Equal(stream.CachedInfo().Created) {
			return false
		}
		missing := maps.Clone(lost)
		for seq := uint64(1); seq <= w.At.Sequence; seq++ {
			m, err := stream.GetMsg(t.Context(), seq)
			if err != nil {
				continue // further than the stream is: a node waits for that
			}
			if st, err := events.Decode(m.Data); err == nil {
				delete(missing, st.ID)
			}
		}
		info, err := stream.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if w.At.Sequence > info.State.LastSeq {
			return false
		}
		if len(missing) > 0 {
			t.Fatalf("said to be whole up to %d of %d, which lacks %d statements", w.At.Sequence, info.State.LastSeq, len(missing))
		}
		return true
	})
}

// TestLedgerTakesNoBatchOfAnotherStream: what an abandoned reading of the stream before delivers is not in this one.
func TestLedgerTakesNoBatchOfAnotherStream(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL(), func(c *issuer.Config) { c.Ledger = filepath.Join(t.TempDir(), "ledger") })
	until(t, "compared", func() bool { return issuer.Compared(r.Issuer) })
	event := func(key string, rewinds uint64) events.Event {
		return events.Event{Sequence: 1 << 40, Time: time.Now(), Rewinds: rewinds, Revocation: events.Revocation{ID: key, Issuer: iss, Scope: events.Session,
			Key: key, Until: time.Now().Add(time.Hour).Truncate(time.Second), By: "admin"}}
	}
	before, of, late := event("before", 1), event("of", 2), event("late", 1)
	for _, e := range []events.Event{before, of, late} {
		if err := issuer.Apply(within(t), r.Issuer, e); err != nil {
			t.Fatal(err)
		}
	}
	if issuer.LedgerSaw(r.Issuer, before.Revocation) || !issuer.LedgerSaw(r.Issuer, of.Revocation) || issuer.LedgerSaw(r.Issuer, late.Revocation) {
		t.Error("the newest stream is not said to hold what came of it, and nothing else")
	}
}

// TestLedgerGivesBackWhatEndsSoon: what covers tokens for some seconds only is part of a whole stream.
func TestLedgerGivesBackWhatEndsSoon(t *testing.T) {
	t.Parallel()
	c := &stopped{at: time.Now()} // soon is not past because a machine is slow
	r := start(t, server(t).URL(), func(cfg *issuer.Config) {
		cfg.Ledger, cfg.Now, cfg.MaxStaleness = filepath.Join(t.TempDir(), "ledger"), c.now, time.Hour
	})
	p, err := events.NewPublisher(events.PublisherConfig{Conn: r.cfg.Conn, By: "policy", Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.Complete(within(t), events.Revocation{Issuer: iss, Scope: events.Session, Key: "soon", Until: c.now().Add(50 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	ack, err := p.Publish(within(t), s)
	if err != nil {
		t.Fatal(err)
	}
	s.ID = ack.ID
	until(t, "applied", func() bool { return issuer.Holds(r.Issuer, s) })
	wipe(t, r, true)
	back(t, r, map[string]events.Revocation{s.ID: s})
}

// TestLedgerOfTwoReplicas: one file is one replica's; two that write to it would destroy it, and it is what a lost stream comes back from.
func TestLedgerOfTwoReplicas(t *testing.T) {
	t.Parallel()
	s := server(t)
	r := start(t, s.URL(), func(c *issuer.Config) { c.Ledger = filepath.Join(t.TempDir(), "ledger") })
	want := businessSystem(t, r, "a", 3)
	for _, st := range want {
		until(t, "it is applied", func() bool { return issuer.Holds(r.Issuer, st) })
	}
	cfg := r.cfg
	cfg.Node = "two"
	for _, iss := range []string{cfg.Issuer, "https://other.example"} {
		cfg.Issuer = iss
		if i, err := issuer.New(t.Context(), cfg); !errors.Is(err, issuer.ErrConfig) || !strings.Contains(err.Error(), "another process") {
			t.Errorf("%s: a second one with the same file: %v, %v", iss, i, err)
		}
	}
	wipe(t, r, true)
	back(t, r, want)
	// Who ends lets go of it.
	r.stop()
	again := startWith(t, r.nats, r.cfg)
	until(t, "it has compared", func() bool { return issuer.Compared(again.Issuer) })
}

// TestLedgerIsOwnedBeforeItIsRead: another replica is about to make or to read the file. Who is refused makes none, and who does not run lets go.
func TestLedgerIsOwnedBeforeItIsRead(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL())
	cfg := r.cfg
	cfg.Ledger, cfg.Node = filepath.Join(t.TempDir(), "ledger"), "two"
	other, err := snapshot.Own(cfg.Ledger)
	if err != nil {
		t.Fatal(err)
	}
	if i, err := issuer.New(t.Context(), cfg); !errors.Is(err, issuer.ErrConfig) || !strings.Contains(err.Error(), fmt.Sprintf("(process %d on ", os.Getpid())) {
		t.Fatalf("got %v, %v", i, err)
	}
	if _, err := os.Stat(cfg.Ledger); err == nil {
		t.Error("a file was made")
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		i, err := issuer.New(within(t), cfg)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := i.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := i.Run(t.Context()); err == nil {
			t.Error("it runs after Close")
		}
	}
}

// TestLedgerForgetsByTheServersClock: a clock that was set ahead must not have living statements dropped from the file.
func TestLedgerForgetsByTheServersClock(t *testing.T) {
	t.Parallel()
	clock := &clock{}
	r := start(t, server(t).URL(), func(c *issuer.Config) { c.Ledger, c.Now = filepath.Join(t.TempDir(), "ledger"), clock.now })
	until(t, "it has read the stream", func() bool { return r.Ready() == nil })
	soon := time.Now().Add(time.Minute)
	if !issuer.Living(r.Issuer, soon) || issuer.Living(r.Issuer, soon.Add(-time.Hour)) {
		t.Error("by the right clock: want what ends soon kept, and what ended long ago not")
	}
	clock.advance(48 * time.Hour)
	if !issuer.Living(r.Issuer, soon) {
		t.Error("by a clock that is two days ahead it is forgotten")
	}
}

// TestLedgerKeepsWhatOutlivesItsEqual: the denylist says already what the last statement says, but by one that ends before it.
func TestLedgerKeepsWhatOutlivesItsEqual(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL(), func(c *issuer.Config) { c.Ledger = filepath.Join(t.TempDir(), "ledger") })
	p, err := events.NewPublisher(events.PublisherConfig{Conn: r.cfg.Conn, By: "policy"})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Truncate(time.Second)
	want := map[string]events.Revocation{}
	for _, s := range []events.Revocation{
		{Before: now, Until: now.Add(10 * time.Minute)},
		{Before: now.Add(-time.Hour), Until: now.Add(50 * time.Minute)},
		{Before: now, Until: now.Add(30 * time.Minute)},
	} {
		s.Issuer, s.Scope, s.Key = "https://other.example", events.Client, "c"
		if s, err = p.Complete(within(t), s); err != nil {
			t.Fatal(err)
		}
		ack, err := p.Publish(within(t), s)
		if err != nil {
			t.Fatal(err)
		}
		s.ID = ack.ID
		want[s.ID] = s
		until(t, "applied", func() bool { return issuer.Holds(r.Issuer, s) })
	}
	wipe(t, r, true)
	back(t, r, want)
}
