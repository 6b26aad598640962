package verifier_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/verifier"
)

// ledgerKeeper says what it is told to.
type ledgerKeeper struct {
	says  atomic.Pointer[events.Whole]
	asked atomic.Int64
	last  atomic.Int64 // when, in nanoseconds
}

func keeper(t *testing.T, nc *nats.Conn) *ledgerKeeper {
	t.Helper()
	k := &ledgerKeeper{}
	k.says.Store(&events.Whole{Node: "issuer-1"})
	keepers(t, nc, k)
	return k
}

// keepers lets one more answer, until the test ends or it leaves.
func keepers(t *testing.T, nc *nats.Conn, k *ledgerKeeper) (leave func()) {
	t.Helper()
	leave, err := events.HearWhole(nc, func() events.Whole {
		k.asked.Add(1)
		k.last.Store(time.Now().UnixNano())
		return *k.says.Load()
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(leave)
	eventually(t, "the keeper listens", func() bool {
		answers, err := events.AskWhole(t.Context(), nc)
		return err == nil && len(answers) > 0 && k.asked.Load() > 0
	})
	return leave
}

func born(t *testing.T, js jetstream.JetStream) time.Time {
	t.Helper()
	s, err := js.Stream(t.Context(), events.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().Created
}

// logText is what a node has said.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logText) says(what string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), what)
}

func (l *logText) into(c *verifier.Config) { c.Logger = slog.New(slog.NewTextHandler(l, nil)) }

// TestFirstSyncWaitsForTheLedger: a node that starts after its stream has lost statements is not ready before it has them again.
func TestFirstSyncWaitsForTheLedger(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	nc := server.Connect(t)
	js := ensure(t, nc, events.Layout{})
	p := publisher(t, nc)
	k := keeper(t, server.Connect(t))
	log := &logText{}
	v, _ := node(t, server.URL(), func(c *verifier.Config) { log.into(c); c.LedgerWait = time.Hour })
	token := mint(time.Now(), object{"sid": "lost"})
	waits := func(what string) {
		t.Helper()
		eventually(t, "the node says that it waits: "+what, func() bool {
			if err := verifyErr(v, token); !errors.Is(err, verifier.ErrStale) {
				t.Fatalf("%s: the token: got %v, want ErrStale", what, err)
			}
			err := v.Ready()
			return errors.Is(err, verifier.ErrStale) && strings.Contains(err.Error(), what) && strings.Contains(err.Error(), "ready without it at")
		})
		// It knows more than it says: the feed itself is synced.
		if st := v.Status(); st.Synced || !st.AsOf.IsZero() || st.Feed.Synced {
			t.Fatalf("%s: synced %v, as of %v", what, st.Synced, st.AsOf)
		}
	}
	waits(`issuer "issuer-1" compares the stream with its ledger`)
	k.says.Store(&events.Whole{Node: "issuer-1", At: events.Position{Stream: born(t, js).Add(-time.Hour), Sequence: 1}})
	waits(`issuer "issuer-1" has not seen this stream yet`)
	// Further than the stream is: this one is an older copy.
	k.says.Store(&events.Whole{Node: "issuer-1", At: events.Position{Stream: born(t, js), Sequence: 1 << 40}})
	waits(`up to which issuer "issuer-1" has the stream`)
	ack, err := p.Publish(t.Context(), events.Revocation{Issuer: issA, Scope: events.Session, Key: "lost"})
	if err != nil {
		t.Fatal(err)
	}
	k.says.Store(&events.Whole{Node: "issuer-1", At: events.Position{Stream: born(t, js), Sequence: ack.Sequence}})
	eventually(t, "ready", func() bool { return v.Ready() == nil })
	if err := verifyErr(v, token); !errors.Is(err, verifier.ErrRevoked) {
		t.Errorf("what was given back: got %v, want ErrRevoked", err)
	}
	if !log.says("may have lost statements") || !log.says("is whole") || log.says("not waiting any longer") {
		t.Errorf("the log:\n%s", log.text.String())
	}
	// Once open it stays open, whatever is said.
	k.says.Store(&events.Whole{Node: "issuer-1"})
	asked, links := k.asked.Load(), v.Status().Feed.Reconnects
	confirmed(t, nc, p, events.Revocation{Issuer: issA, Scope: events.Session, Key: "more"})
	if err := v.Ready(); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if n := k.asked.Load() - asked; n != 0 && v.Status().Feed.Reconnects == links { // behind a new link it asks again
		t.Errorf("afterwards: asked %d times more", n)
	}
}

// TestFirstSyncDoesNotWaitForEver: for one that never gives back, one that never answers, and for nobody at all.
func TestFirstSyncDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	nc := server.Connect(t)
	ensure(t, nc, events.Layout{})
	waited := func() (waited, busy bool) {
		alone := &logText{}
		v, stop := node(t, server.URL(), func(c *verifier.Config) { alone.into(c); c.MaxStaleness = time.Hour })
		defer stop()
		eventually(t, "a node where nobody keeps a ledger is ready", func() bool { return v.Ready() == nil })
		return alone.says("may have lost"), alone.says(events.ErrUnavailable.Error()) // the server had no time to say that nobody listens
	}
	eventually(t, "a node where nobody keeps a ledger does not wait", func() bool {
		was, busy := waited()
		if was && !busy {
			t.Fatal("a node where nobody keeps a ledger waited")
		}
		return !was
	})
	patient := &logText{}
	node(t, server.URL(), func(c *verifier.Config) { patient.into(c); c.LedgerWait = time.Hour })
	eventually(t, "a node that is told to waits for one to come", func() bool { return patient.says("nobody keeps a ledger") })

	mute, err := nc.SubscribeSync(events.SubjectWhole)
	if err != nil {
		t.Fatal(err)
	}
	late := &logText{}
	v, _ := node(t, server.URL(), func(c *verifier.Config) { late.into(c); c.LedgerWait = 1200 * time.Millisecond })
	eventually(t, "not ready for ever for one who never answers", func() bool { return v.Ready() == nil })
	if !late.says("not waiting any longer") {
		t.Errorf("the log:\n%s", late.text.String())
	}
	if err := mute.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	keeper(t, server.Connect(t))
	never := &logText{}
	v, _ = node(t, server.URL(), func(c *verifier.Config) { never.into(c); c.LedgerWait = 500 * time.Millisecond })
	eventually(t, "not ready for ever for one who never gives back", func() bool { return v.Ready() == nil })
	if !never.says("not waiting any longer") || !never.says("are accepted") {
		t.Errorf("the log:\n%s", never.text.String())
	}
}

// TestFirstSyncDoesNotAsk: not if it was told so.
func TestFirstSyncDoesNotAsk(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t) // of its own: nobody else's question is on its way
	nc := server.Connect(t)
	ensure(t, nc, events.Layout{})
	k := keeper(t, nc)
	asked := k.asked.Load()
	v, _ := node(t, server.URL(), func(c *verifier.Config) { c.LedgerWait = -1 })
	eventually(t, "ready without a question", func() bool { return v.Ready() == nil })
	if k.asked.Load() != asked {
		t.Error("a node that was told not to ask has asked")
	}
}

// TestFirstSyncWaitsForWhoeverObjects: a replica whose ledger is new finds the stream whole; the one that knows what was lost does not yet,
// and is not heard in every round.
func TestFirstSyncWaitsForWhoeverObjects(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	nc := server.Connect(t)
	js := ensure(t, nc, events.Layout{})
	if _, err := publisher(t, nc).Publish(t.Context(), events.Revocation{Issuer: issA, Scope: events.Session, Key: "other"}); err != nil {
		t.Fatal(err)
	}
	full := &ledgerKeeper{}
	full.says.Store(&events.Whole{Node: "full"})
	leave := keepers(t, server.Connect(t), full)
	v, _ := node(t, server.URL(), func(c *verifier.Config) { c.LedgerWait = time.Hour })
	waits := func() string {
		t.Helper()
		err := v.Ready()
		if !errors.Is(err, verifier.ErrStale) {
			t.Fatalf("ready while one says not yet: %v", err)
		}
		return err.Error()
	}
	eventually(t, "the objection is heard", func() bool { return strings.Contains(waits(), `issuer "full" compares`) })
	keeper(t, server.Connect(t)).says.Store(&events.Whole{Node: "new", At: events.Position{Stream: born(t, js), Sequence: 1}})
	asked := full.asked.Load()
	eventually(t, "asked several times", func() bool { waits(); return full.asked.Load() > asked+5 })
	// He is silent, and that is no consent yet.
	leave()
	said, stood, last := false, time.Duration(0), time.Now()
	eventually(t, "ready", func() bool {
		now := time.Now()
		stood, last = max(stood, now.Sub(last)), now
		err := v.Ready()
		said = said || err != nil && strings.Contains(err.Error(), `"full", which did not find the stream whole`)
		return err == nil
	})
	if !said && stood < time.Second { // else it may have been said while this test stood still
		t.Error("it was not said whom the node still waits for")
	}
	if silent := time.Since(time.Unix(0, full.last.Load())); silent < 3*time.Second {
		t.Errorf("ready when the one who objected had been silent for only %v", silent)
	}
}

// TestFirstSyncWaitsForOneWhoConnectsAgain: an issuer that stood still when the node asked, and whose connection is made anew before it
// has answered, is not gone: what it has to give back comes.
func TestFirstSyncWaitsForOneWhoConnectsAgain(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	nc := server.Connect(t)
	js := ensure(t, nc, events.Layout{})
	sub, err := nc.SubscribeSync(events.SubjectWhole)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	v, _ := node(t, server.URL(), nil)
	eventually(t, "the node waits for an answer", func() bool {
		err := v.Ready()
		return err != nil && strings.Contains(err.Error(), "an answer whether the stream holds everything")
	})
	if err := sub.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node sees that nobody listens", func() bool {
		err := v.Ready()
		if err == nil {
			t.Fatal("ready although the one who listened has not answered")
		}
		return strings.Contains(err.Error(), events.ErrNoLedger.Error())
	})
	k := keeper(t, server.Connect(t))
	p := publisher(t, nc)
	ack, err := p.Publish(t.Context(), events.Revocation{Issuer: issA, Scope: events.Session, Key: "lost"})
	if err != nil {
		t.Fatal(err)
	}
	k.says.Store(&events.Whole{Node: "issuer-1", At: events.Position{Stream: born(t, js), Sequence: ack.Sequence}})
	eventually(t, "ready", func() bool { return v.Ready() == nil })
	if err := verifyErr(v, mint(time.Now(), object{"sid": "lost"})); !errors.Is(err, verifier.ErrRevoked) {
		t.Errorf("what was given back: got %v, want ErrRevoked", err)
	}
}
