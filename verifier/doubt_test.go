package verifier_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/verifier"
)

// doubtRig is a node that runs, and an issuer that said to it that the stream is whole.
type doubtRig struct {
	*verifier.Verifier
	js   jetstream.JetStream
	pub  *events.Publisher
	k    *ledgerKeeper
	gone func()     // the issuer goes
	ask  *nats.Conn // the issuer's
	conn *nats.Conn // the node's
}

func newDoubtRig(t *testing.T, change func(*verifier.Config)) *doubtRig {
	t.Helper()
	server := natstest.Start(t)
	nc := server.Connect(t)
	r := &doubtRig{js: ensure(t, nc, events.Layout{}), pub: publisher(t, nc), k: &ledgerKeeper{}, ask: server.Connect(t)}
	r.comparing()
	r.gone = keepers(t, r.ask, r.k)
	r.whole(t, r.revoke(t, "known"))
	r.Verifier, _ = node(t, server.URL(), func(c *verifier.Config) {
		c.LedgerWait, c.MaxStaleness, r.conn = time.Hour, 10*time.Minute, c.NATS
		if change != nil {
			change(c)
		}
	})
	eventually(t, "ready", func() bool { return r.Ready() == nil })
	return r
}

func (r *doubtRig) revoke(t *testing.T, session string) uint64 {
	t.Helper()
	ack, err := r.pub.Publish(t.Context(), events.Revocation{Issuer: issA, Scope: events.Session, Key: session})
	if err != nil {
		t.Fatal(err)
	}
	return ack.Sequence
}

func (r *doubtRig) whole(t *testing.T, sequence uint64) {
	r.k.says.Store(&events.Whole{Node: "issuer-1", At: events.Position{Stream: born(t, r.js), Sequence: sequence}})
}

func (r *doubtRig) comparing() { r.k.says.Store(&events.Whole{Node: "issuer-1"}) }

// leaves is the issuer's going away.
func (r *doubtRig) leaves(t *testing.T) {
	r.gone()
	eventually(t, "nobody listens", func() bool {
		_, err := events.AskWhole(t.Context(), r.ask)
		return errors.Is(err, events.ErrNoLedger)
	})
}

// follows waits until the node has read what is stored, and something live.
func (r *doubtRig) follows(t *testing.T, what string, since func(events.Status) bool) {
	t.Helper()
	at := r.revoke(t, "other")
	eventually(t, what, func() bool { st := r.Status().Feed; return since(st) && st.Sequence >= at })
}

// lost is given back by the issuer; whenever the view is said to be newer than when it was lost, it is enforced.
func (r *doubtRig) givesBack(t *testing.T, lost time.Time) {
	t.Helper()
	if asOf := r.Status().AsOf; asOf.After(lost) {
		t.Errorf("as of %v, but what was said before %v has not been given back yet", asOf, lost)
	}
	if err := r.Ready(); err != nil {
		t.Errorf("the view of before is young enough: %v", err)
	}
	r.whole(t, r.revoke(t, "lost"))
	eventually(t, "the view is newer", func() bool { return r.Status().AsOf.After(lost) })
	if err := verifyErr(r.Verifier, mint(time.Now(), object{"sid": "lost"})); !errors.Is(err, verifier.ErrRevoked) {
		t.Errorf("what was given back: got %v, want ErrRevoked", err)
	}
}

// TestRewindMakesNothingNewer: a node was away when a session was revoked, and comes back to a stream that was made anew. It may serve on
// from what it knew, but what it reads there proves nothing before the issuer has given back what was lost.
func TestRewindMakesNothingNewer(t *testing.T) {
	t.Parallel()
	r := newDoubtRig(t, nil)
	r.comparing()
	if err := r.js.DeleteStream(t.Context(), events.StreamName); err != nil {
		t.Fatal(err)
	}
	lost := time.Now()
	made(t, r.js, events.Layout{})
	r.follows(t, "the new stream is followed", func(st events.Status) bool { return st.Rewinds > 0 })
	r.givesBack(t, lost)
}

// TestRewindWaitsForOneWhoIsAway: the issuer's connection broke as well, and it comes back later than the node.
func TestRewindWaitsForOneWhoIsAway(t *testing.T) {
	t.Parallel()
	r := newDoubtRig(t, func(c *verifier.Config) { c.LedgerWait = 0 })
	r.leaves(t)
	if err := r.js.DeleteStream(t.Context(), events.StreamName); err != nil {
		t.Fatal(err)
	}
	lost := time.Now()
	made(t, r.js, events.Layout{})
	r.follows(t, "the new stream is followed", func(st events.Status) bool {
		return st.Rewinds > 0 && strings.Contains(st.LastError, events.ErrNoLedger.Error())
	})
	r.comparing()
	keepers(t, r.ask, r.k)
	r.givesBack(t, lost)
}

// TestReconnectWaitsForOneWhoIsAway: the same behind a new connection, where nothing shows that something is lost.
func TestReconnectWaitsForOneWhoIsAway(t *testing.T) {
	t.Parallel()
	r := newDoubtRig(t, func(c *verifier.Config) { c.LedgerWait = 0 })
	r.leaves(t)
	if err := r.conn.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	lost := time.Now()
	r.follows(t, "the stream is followed again", func(st events.Status) bool {
		return st.Reconnects > 0 && strings.Contains(st.LastError, events.ErrNoLedger.Error())
	})
	r.comparing()
	keepers(t, r.ask, r.k)
	r.givesBack(t, lost)
}

// TestReconnectMakesNothingNewer: the same behind a new connection. A stream that lost only what this node has not seen looks to it as
// if nothing had happened.
func TestReconnectMakesNothingNewer(t *testing.T) {
	t.Parallel()
	r := newDoubtRig(t, nil)
	r.comparing()
	asked := r.k.asked.Load()
	if err := r.conn.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	lost := time.Now()
	r.follows(t, "the stream is followed again", func(st events.Status) bool { return st.Reconnects > 0 && r.k.asked.Load() > asked })
	r.givesBack(t, lost)
}

// TestReconnectWaitsNoLonger: a view that would be too old does not wait for an issuer that never has looked, as nothing is known to
// be lost.
func TestReconnectWaitsNoLonger(t *testing.T) {
	t.Parallel()
	r := newDoubtRig(t, func(c *verifier.Config) { c.LedgerWait, c.MaxStaleness = time.Hour, 2*time.Second })
	r.comparing()
	if err := r.conn.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	eventually(t, "the view is newer", func() bool { return r.Status().AsOf.After(back.Add(time.Second)) && r.Ready() == nil })
}
