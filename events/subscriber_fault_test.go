package events_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// TestPeerBug20_ServerKilledAndRestarted: SIGKILL right after acknowledgements,
// several times; followers heal without help and miss nothing, and are not deaf
// afterwards.
func TestPeerBug20_ServerKilledAndRestarted(t *testing.T) {
	t.Parallel()
	srv, _ := killable(t, t.TempDir())
	a, b := follow(t, srv.URL()), follow(t, srv.URL())
	a.fresh(t)
	b.fresh(t)
	l := startLedger(t, srv.URL(), "k")
	for range 3 {
		l.grows(t, 50)
		srv.Kill()
		srv.Restart(t)
	}
	l.grows(t, 50)
	l.check(t, a, b)
	late := follow(t, srv.URL())
	l.check(t, late)
	for _, f := range []*followerUnderTest{a, b} {
		if f.Status().Rewinds != 0 {
			t.Errorf("a plain restart looked like another stream: %+v", f.Status())
		}
	}
}

// TestServerFrozen: a stopped server acknowledges nothing and sends nothing; the
// view ages meanwhile and heals.
func TestServerFrozen(t *testing.T) {
	t.Parallel()
	srv, _ := killable(t, t.TempDir())
	f := follow(t, srv.URL())
	f.fresh(t)
	l := startLedger(t, srv.URL(), "k")
	l.grows(t, 50)
	srv.Pause()
	eventually(t, "the view grows stale", func() bool { return f.Freshness(time.Now()).Staleness > 2*time.Second })
	srv.Resume()
	l.grows(t, 50)
	l.check(t, f)
}

// TestStreamRecreated: deleted and recreated under the follower while
// statements flow. The stock ordered consumer loses hundreds here.
func TestStreamRecreated(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	js := ensure(t, nc)
	// It must hear all of each stream while that is there, so it may not take its link for deaf when the server is busy.
	f := follow(t, srv.URL(), func(c *events.SubscriberConfig) { c.BeaconInterval = 2 * time.Second })
	f.fresh(t)
	l := startLedger(t, srv.URL(), "k")
	for range 3 {
		l.grows(t, 100)
		if err := js.DeleteStream(t.Context(), events.StreamName); err != nil {
			t.Fatal(err)
		}
		ensure(t, nc)
	}
	l.grows(t, 100)
	l.check(t, f)
	if f.Status().Rewinds == 0 {
		t.Error("the recreated stream was not noticed")
	}
}

// TestPurgeIsRefused: nobody empties the stream by accident, and trying harms
// nothing.
func TestPurgeIsRefused(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	js := ensure(t, nc)
	f := follow(t, srv.URL())
	l := startLedger(t, srv.URL(), "k")
	l.grows(t, 20)
	stream, err := js.Stream(t.Context(), events.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err == nil {
		t.Error("the stream was purged")
	}
	if err := stream.DeleteMsg(t.Context(), 1); err == nil {
		t.Error("a message was deleted")
	}
	l.grows(t, 20)
	l.check(t, f, follow(t, srv.URL()))
}

// TestLayoutThatPromisesLessIsNotFollowed: a stream that could drop living
// statements is named, field by field, and the node does not become ready.
func TestLayoutThatPromisesLessIsNotFollowed(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	js := apiOf(t, srv.Connect(t))
	cfg := events.Layout{}.StreamConfig()
	cfg.DenyPurge = false
	if _, err := js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	f := follow(t, srv.URL())
	eventually(t, "the difference is reported", func() bool { return strings.Contains(strings.ToLower(f.Status().LastError), "purge") })
	if f.Freshness(time.Now()).Synced {
		t.Error("synced with a stream that can be purged")
	}
}

// TestStoreWiped: the server comes back with an empty disk and a new stream.
func TestStoreWiped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv, nc := killable(t, dir)
	f := follow(t, srv.URL())
	f.fresh(t)
	before := startLedger(t, srv.URL(), "before")
	before.grows(t, 100)
	before.check(t, f) // what only the wiped store had is nobody's to save
	srv.Kill()
	wipe(t, dir)
	srv.Restart(t)
	ensure(t, nc)
	l := startLedger(t, srv.URL(), "after")
	l.grows(t, 100)
	l.check(t, f)
	before.check(t, f)
}

// TestStoreRestoredFromAnOlderCopy: the stream goes back in time while the node
// is away, and its sequences overtake the node's before it returns.
func TestStoreRestoredFromAnOlderCopy(t *testing.T) {
	t.Parallel()
	dir, copied := t.TempDir(), t.TempDir()
	srv, nc := killable(t, dir)
	f := follow(t, srv.URL())
	f.fresh(t)
	l := startLedger(t, srv.URL(), "k")
	l.grows(t, 100)
	srv.Kill()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	srv.Restart(t)
	l.grows(t, 200)
	l.check(t, f)
	before := f.Status().Sequence
	srv.Kill()
	wipe(t, dir)
	if err := os.CopyFS(dir, os.DirFS(copied)); err != nil {
		t.Fatal(err)
	}
	srv.Restart(t)
	after := startLedger(t, srv.URL(), "after")
	overtaken(t, nc, before)
	after.check(t, f)
	l.check(t, f)
	if got := f.Status().Sequence; got <= before {
		t.Errorf("the restored stream did not overtake (%d after %d): the test lost its point", got, before)
	}
}

// TestStreamOvertakesWhileTheNodeIsAway: as before, but the node sees nothing of
// it: when it comes back the stream is longer than it was. Only the identity of
// a message tells that its past is another.
func TestStreamOvertakesWhileTheNodeIsAway(t *testing.T) {
	t.Parallel()
	dir, copied := t.TempDir(), t.TempDir()
	srv, nc := killable(t, dir)
	line := startProxy(t, strings.TrimPrefix(srv.URL(), "nats://"))
	f := follow(t, "nats://"+line.addr)
	f.fresh(t)
	l := startLedger(t, srv.URL(), "k")
	l.grows(t, 50)
	srv.Kill()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	srv.Restart(t)
	l.grows(t, 100)
	l.check(t, f)
	line.cut()
	before := f.Status().Sequence
	srv.Kill()
	wipe(t, dir)
	if err := os.CopyFS(dir, os.DirFS(copied)); err != nil {
		t.Fatal(err)
	}
	srv.Restart(t)
	after := startLedger(t, srv.URL(), "after")
	overtaken(t, nc, before)
	line.mend()
	after.check(t, f)
	l.check(t, f)
	if f.Status().Rewinds == 0 {
		t.Error("the other past was not noticed")
	}
}

// TestNoReceiptFromAnotherStream: a node that still follows the old stream must
// not confirm a small sequence of the new one.
func TestNoReceiptFromAnotherStream(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	js := ensure(t, nc)
	p := publisher(t, nc)
	f := follow(t, srv.URL())
	for i := range 20 {
		publish(t, p, sessionRevocation(fmt.Sprintf("old-%d", i)))
	}
	f.fresh(t)
	f.setFail(errApply) // it will not get to the new statement
	if err := js.DeleteStream(t.Context(), events.StreamName); err != nil {
		t.Fatal(err)
	}
	ensure(t, nc)
	stream, err := js.Stream(t.Context(), events.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	ack := publish(t, p, sessionRevocation("new"))
	at := events.Position{Stream: stream.CachedInfo().Created, Sequence: ack.Sequence}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := f.WaitApplied(ctx, at); err == nil {
		t.Errorf("sequence %d of a new stream is confirmed, applied %v", ack.Sequence, f.has("new"))
	}
	f.setFail(nil)
	if err := f.WaitApplied(t.Context(), at); err != nil || !f.has("new") {
		t.Errorf("after it healed: %v, applied %v", err, f.has("new"))
	}
}

// TestQuorumLost: two of three servers gone. The third answers on and stores
// nothing: the node must grow stale although it is connected.
func TestQuorumLost(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, 3)
	nc := c.Servers[0].Connect(t)
	replicated(t, nc)
	f := follow(t, c.Servers[0].URL())
	f.fresh(t)
	l := startLedger(t, c.URL(), "k")
	l.grows(t, 50)
	c.Servers[1].Stop()
	c.Servers[2].Stop()
	eventually(t, "stale while connected", func() bool {
		return f.Freshness(time.Now()).Staleness > 2*time.Second && f.Status().Connected
	})
	c.Servers[1].Restart(t)
	c.Servers[2].Restart(t)
	l.grows(t, 50)
	l.check(t, f)
}

// TestLeaderChanges: the leader of a replicated stream is stopped and comes
// back, while statements flow.
func TestLeaderChanges(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, 3)
	nc := c.Servers[0].Connect(t)
	replicated(t, nc)
	a, b := follow(t, c.URL()), follow(t, c.URL())
	a.fresh(t)
	l := startLedger(t, c.URL(), "k")
	for range 2 {
		l.grows(t, 50)
		s := c.Leader(events.StreamName)
		s.Stop()
		l.grows(t, 20)
		s.Restart(t)
	}
	l.check(t, a, b)
}

// overtaken waits until a restored stream is longer than it was.
func overtaken(t testing.TB, nc *nats.Conn, before uint64) {
	t.Helper()
	js := apiOf(t, nc)
	settles(t, "the restored stream is longer than it was", func(ctx context.Context) error {
		s, err := js.Stream(ctx, events.StreamName)
		if err == nil && s.CachedInfo().State.LastSeq <= before+10 {
			err = fmt.Errorf("it ends at %d", s.CachedInfo().State.LastSeq)
		}
		return err
	})
}

// killable is a server in a process of its own, with the stream on it.
func killable(t testing.TB, dir string) (*natstest.Process, *nats.Conn) {
	t.Helper()
	srv := natstest.StartProcess(t, dir, 0)
	nc, err := events.Connect(events.ConnectConfig{URL: srv.URL()})
	if err != nil {
		t.Fatal(err)
	}
	natstest.Connected(t, nc)
	t.Cleanup(nc.Close)
	ensure(t, nc)
	return srv, nc
}

// replicated makes the stream on three servers.
func replicated(t testing.TB, nc *nats.Conn) {
	t.Helper()
	js := apiOf(t, nc)
	settles(t, "a replicated stream", func(ctx context.Context) error {
		_, err := events.EnsureStream(ctx, js, events.Layout{Replicas: 3})
		return err
	})
}

func wipe(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
}
