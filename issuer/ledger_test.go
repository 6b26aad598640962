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
	"github.com/quash-auth/quash/internal/fulldisk"
	"github.com/quash-auth/quash/issuer"
)

// businessSystem publishes statements that no record of the issuer knows, and returns their IDs.
func businessSystem(t *testing.T, r *rig, name string, n int) map[string]events.Revocation {
	t.Helper()
	p, err := events.NewPublisher(events.PublisherConfig{Conn: r.cfg.Conn, By: "policy"})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]events.Revocation{}
	for i := range n {
		s := events.Revocation{Issuer: []string{iss, "https://other.example"}[i%2], Scope: events.Scope(1 + i%5), Key: fmt.Sprint(name, i), Actor: "fraud desk", Reason: "case 7"}
		if s, err = p.Complete(within(t), s); err != nil {
			t.Fatal(err)
		}
		ack, err := p.Publish(within(t), s)
		if err != nil {
			t.Fatal(err)
		}
		s.ID = ack.ID
		out[ack.ID] = s
	}
	return out
}

func wipe(t *testing.T, r *rig, recreate bool) {
	t.Helper()
	js, err := jetstream.New(r.cfg.Conn)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(within(t), events.StreamName); err != nil {
		t.Fatal(err)
	}
	if !recreate {
		return
	}
	anew(t, js)
}

// anew makes the stream. A server that is still clearing the one of before is asked again.
func anew(t *testing.T, js jetstream.JetStream) (stream jetstream.Stream) {
	t.Helper()
	until(t, "the stream exists", func() bool {
		var err error
		if stream, err = events.EnsureStream(t.Context(), js, events.Layout{}); err != nil && !errors.Is(err, events.ErrUnavailable) {
			t.Fatal(err)
		}
		return err == nil
	})
	return stream
}

// back waits until the stream holds all of them again, word for word.
func back(t *testing.T, r *rig, want map[string]events.Revocation) {
	t.Helper()
	until(t, "the stream has its statements again", func() bool {
		got := map[string]events.Revocation{}
		for _, s := range r.statements() {
			got[s.ID] = s
		}
		for id, w := range want {
			g, there := got[id]
			if !there {
				return false
			}
			if g != w {
				t.Fatalf("came back as %+v, was %+v", g, w)
			}
		}
		return true
	})
}

// TestLedgerGivesBackWhatAStreamLost: wiped under a running issuer, and while no issuer ran.
func TestLedgerGivesBackWhatAStreamLost(t *testing.T) {
	t.Parallel()
	s := server(t)
	file := filepath.Join(t.TempDir(), "ledger")
	r := start(t, s.URL(), func(c *issuer.Config) { c.Ledger = file })
	want := businessSystem(t, r, "a", 25)
	r.user("ada")
	login := r.login("ada")
	if a := r.form("/logout", "refresh_token", login.Refresh); a.status != 200 && a.status != 204 {
		r.want("logout", r.bearer("/logout", login.Access, ""), 200, "")
	}
	r.dead("after the logout", login.Access)
	for _, st := range r.statements() {
		want[st.ID] = st
	}
	// All of it must have come through the stream before it is wiped, or nobody has it.
	last := businessSystem(t, r, "last", 1)
	for id, st := range last {
		want[id] = st
		until(t, "the last statement is applied", func() bool { return issuer.Holds(r.Issuer, st) })
	}

	wipe(t, r, true)
	back(t, r, want)
	until(t, "all are counted", func() bool { return r.Stats().Returned >= uint64(len(want)) }) // when it is acknowledged

	cfg := r.cfg
	wipe(t, r, false)
	r.stop()
	again := startWith(t, s.URL(), cfg)
	back(t, again, want)

	// A restart with a whole stream gives nothing back.
	before := len(again.statements())
	again.stop()
	third := startWith(t, s.URL(), cfg)
	until(t, "the third life has compared", func() bool { return issuer.Compared(third.Issuer) })
	if n, got := third.Stats().Returned, len(third.statements()); n != 0 || got != before {
		t.Errorf("%d statements returned to a whole stream, which holds %d, before %d", n, got, before)
	}
}

// TestLedgerWithoutRoom: the issuer goes on, and says that its ledger does not.
func TestLedgerWithoutRoom(t *testing.T) {
	t.Parallel()
	file, l := filepath.Join(t.TempDir(), "ledger"), &logs{}
	r := start(t, server(t).URL(), func(c *issuer.Config) { c.Ledger, c.Logger = file, l.logger() })
	r.user("ann")
	kept := r.login("ann")
	r.want("logout", r.bearer("/logout", kept.Access, ""), 200, "")
	if p := r.Stats().LedgerProblem; p != "" {
		t.Errorf("with room: got %q, want no problem", p)
	}
	until(t, "it has compared", func() bool { return issuer.Compared(r.Issuer) }) // for which it opens the file again
	free := fulldisk.Fill(t, file)
	lost := r.login("ann")
	r.want("logout without room for the statement", r.bearer("/logout", lost.Access, ""), 200, "")
	r.dead("after the logout", lost.Access)
	if p := r.Stats().LedgerProblem; !strings.Contains(p, "no space left on device") {
		t.Errorf("without room: got %q, want why it is not written", p)
	}
	until(t, "it is logged", func() bool { return strings.Contains(l.String(), "the ledger is not written any more") })
	free()
	r.want("a login", r.tryLogin("ann", password), 200, "")
	if p := r.Stats().LedgerProblem; p == "" {
		t.Error("with room again: got no problem, but a statement is missing in the file")
	}
	r.stop()
	again := startWith(t, r.nats, r.cfg) // reads what it has, and the rest from the stream
	if p := again.Stats().LedgerProblem; p != "" {
		t.Errorf("restarted with room: got %q, want no problem", p)
	}
	again.dead("after the restart", lost.Access)
}

// TestLedgerWithoutRoomGivesBack what it holds; but nobody is told that the stream is whole then.
func TestLedgerWithoutRoomGivesBack(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "ledger")
	r := start(t, server(t).URL(), func(c *issuer.Config) { c.Ledger = file })
	kept := businessSystem(t, r, "kept", 3)
	for _, st := range kept {
		until(t, "it is applied", func() bool { return issuer.Holds(r.Issuer, st) })
	}
	until(t, "it has compared with the first stream", func() bool { return issuer.Compared(r.Issuer) }) // for which it opens the file again
	defer fulldisk.Fill(t, file)()
	for _, st := range businessSystem(t, r, "lost", 1) {
		until(t, "it is applied", func() bool { return issuer.Holds(r.Issuer, st) })
	}
	wipe(t, r, true)
	back(t, r, kept)
	until(t, "it has compared", func() bool { return issuer.Compared(r.Issuer) })
	if w := issuer.SayWhole(r.Issuer); !w.At.Stream.IsZero() {
		t.Errorf("a stream that lacks a statement is called whole: %+v", w)
	}
}

func TestLedgerThatIsDamaged(t *testing.T) {
	t.Parallel()
	s := server(t)
	file := filepath.Join(t.TempDir(), "ledger")
	if err := os.WriteFile(file, []byte(strings.Repeat("nonsense", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	l := &logs{}
	r := start(t, s.URL(), func(c *issuer.Config) { c.Ledger, c.Logger = file, l.logger() })
	if !strings.Contains(l.String(), "the ledger cannot be used") {
		t.Errorf("the log says nothing of it:\n%s", l)
	}
	if _, err := os.Stat(file + ".refused"); err != nil {
		t.Errorf("the refused file is gone: %v", err)
	}
	want := businessSystem(t, r, "a", 3)
	for _, st := range want {
		until(t, "it is applied", func() bool { return issuer.Holds(r.Issuer, st) })
	}
	wipe(t, r, true)
	back(t, r, want)
}

// TestNoLedgerNoReturn: without one the statement that only the stream had is gone, which is what the ledger is for.
func TestNoLedgerNoReturn(t *testing.T) {
	t.Parallel()
	s := server(t)
	r := start(t, s.URL())
	want := businessSystem(t, r, "a", 2)
	for _, st := range want {
		until(t, "it is applied", func() bool { return issuer.Holds(r.Issuer, st) })
	}
	wipe(t, r, true)
	fresh := businessSystem(t, r, "b", 1)
	for _, st := range fresh {
		until(t, "the new stream is followed", func() bool { return issuer.Holds(r.Issuer, st) })
	}
	// A replica whose ledger began after the loss looks, and finds nothing to give back either.
	cfg := r.cfg
	cfg.Ledger, cfg.Node = filepath.Join(t.TempDir(), "late"), "late"
	late := startWith(t, s.URL(), cfg)
	until(t, "the late replica has compared", func() bool { return issuer.Compared(late.Issuer) })
	if got := r.statements(); len(got) != 1 {
		t.Errorf("%d statements, want the new one only", len(got))
	}
}

// TestWholeIsSaidOfAWholeStream: the stream is recreated again and again, and whenever a replica says that it is whole up to
// somewhere, it holds everything up to there.
func TestWholeIsSaidOfAWholeStream(t *testing.T) {
	t.Parallel()
	s := server(t)
	r := start(t, s.URL(), func(c *issuer.Config) { c.Ledger = filepath.Join(t.TempDir(), "ledger") })
	want := businessSystem(t, r, "a", 40)
	for id, st := range businessSystem(t, r, "last", 1) {
		want[id] = st
		until(t, "the last statement is applied", func() bool { return issuer.Holds(r.Issuer, st) })
	}
	js, err := jetstream.New(r.cfg.Conn)
	if err != nil {
		t.Fatal(err)
	}
	said := 0
	for range 5 {
		wipe(t, r, true)
		stream, err := js.Stream(within(t), events.StreamName)
		if err != nil {
			t.Fatal(err)
		}
		until(t, "it is said to be whole", func() bool {
			answers, err := events.AskWhole(t.Context(), r.cfg.Conn)
			if err != nil || len(answers) == 0 || !answers[0].At.Stream.Equal(stream.CachedInfo().Created) {
				return false
			}
			missing := maps.Clone(want)
			for seq := uint64(1); seq <= answers[0].At.Sequence; seq++ {
				m, err := stream.GetMsg(t.Context(), seq)
				if errors.Is(err, jetstream.ErrMsgNotFound) {
					continue // a beacon of a minute ago
				}
				if err != nil {
					return false
				}
				if st, err := events.Decode(m.Data); err == nil {
					delete(missing, st.ID)
				}
			}
			if len(missing) > 0 {
				t.Fatalf("said to be whole up to %d, which lacks %d statements", answers[0].At.Sequence, len(missing))
			}
			said++
			return true
		})
	}
	if said != 5 {
		t.Errorf("said %d times, want 5", said)
	}
}

// TestReplicasGiveBackTogether: each has the whole ledger, and together they store every statement once.
func TestReplicasGiveBackTogether(t *testing.T) {
	t.Parallel()
	s := server(t)
	one := start(t, s.URL(), func(c *issuer.Config) { c.Ledger = filepath.Join(t.TempDir(), "one") })
	cfg := one.cfg
	cfg.Ledger, cfg.Node = filepath.Join(t.TempDir(), "two"), "two"
	two := startWith(t, s.URL(), cfg)
	p, err := events.NewPublisher(events.PublisherConfig{Conn: one.cfg.Conn, By: "policy"})
	if err != nil {
		t.Fatal(err)
	}
	want := make([]events.Revocation, 3000)
	for n := range want {
		if want[n], err = p.Complete(within(t), events.Revocation{Issuer: iss, Scope: events.Session, Key: fmt.Sprint("s", n)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.PublishAll(within(t), want, nil); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*rig{one, two} {
		until(t, "all is applied", func() bool { return issuer.Holds(r.Issuer, want[len(want)-1]) })
	}
	wipe(t, one, true)
	began := time.Now()
	until(t, "it was given back", func() bool { return one.Stats().Returned+two.Stats().Returned > 0 })
	for _, r := range []*rig{one, two} {
		until(t, "it is said to be whole", func() bool { return issuer.Compared(r.Issuer) })
	}
	t.Logf("given back after %v", time.Since(began))
	stored := timesStored(t, one)
	for _, r := range want {
		if stored[r.ID] != 1 {
			t.Fatalf("statement %s is stored %d times", r.ID, stored[r.ID])
		}
	}
}
