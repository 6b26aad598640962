package verifier_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/fulldisk"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/verifier"
)

// TestSnapshotWithoutRoom: the node goes on, and says that its snapshot does not.
func TestSnapshotWithoutRoom(t *testing.T) {
	t.Parallel()
	broker := natstest.Start(t)
	nc := broker.Connect(t)
	ensure(t, nc, events.Layout{})
	p := publisher(t, nc)
	file := filepath.Join(t.TempDir(), "snapshot")
	v, _ := node(t, broker.URL(), func(c *verifier.Config) { c.Snapshot, c.MaxStaleness = file, time.Minute })
	eventually(t, "the node to be ready", func() bool { return v.Ready() == nil })
	end := func(sid string) {
		t.Helper()
		confirmed(t, nc, p, events.Revocation{Issuer: issA, Scope: events.Session, Key: sid})
	}
	end("kept")
	if s := v.Status(); s.SnapshotProblem != "" || len(s.Degraded) != 0 {
		t.Errorf("with room: got %q, degraded %q, want no problem", s.SnapshotProblem, s.Degraded)
	}
	free := fulldisk.Fill(t, file)
	defer free()
	end("lost")
	s := v.Status()
	if !strings.Contains(s.SnapshotProblem, "snapshot is not written any more") || !strings.Contains(s.SnapshotProblem, "no space left on device") {
		t.Errorf("without room: got %q, want that it is not written, and why", s.SnapshotProblem)
	}
	if !slices.Contains(s.Degraded, s.SnapshotProblem) {
		t.Errorf("degraded: got %q, want the problem among it", s.Degraded)
	}
	if err := v.Ready(); err != nil {
		t.Errorf("Ready: got %v, want nil: the view is whole", err)
	}
	now := time.Now()
	for sid, want := range map[string]bool{"kept": true, "lost": true, "other": false} {
		if err := verifyErr(v, mint(now, object{"sid": sid})); (err != nil) != want {
			t.Errorf("session %s: got %v", sid, err)
		}
	}
}

// TestSnapshotThatCannotBeMade: its directory went away between the check and the start.
func TestSnapshotThatCannotBeMade(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	feed := newFeed(time.Now)
	v, err := verifier.New(verifier.Config{Issuers: []verifier.Issuer{issuerA()}, Feed: feed, Snapshot: filepath.Join(dir, "snapshot")})
	if err != nil {
		t.Fatal(err)
	}
	if p := v.Status().SnapshotProblem; p != "" {
		t.Errorf("before the start: got %q, want no problem", p)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	runs(t, v)
	<-feed.began
	if s := v.Status(); !strings.Contains(s.SnapshotProblem, "the snapshot snapshot cannot be written") || !slices.Contains(s.Degraded, s.SnapshotProblem) {
		t.Errorf("got %q, degraded %q, want that it cannot be written", s.SnapshotProblem, s.Degraded)
	}
	if err := verifyErr(v, mint(time.Now(), nil)); err != nil {
		t.Errorf("a good token: got %v, want it accepted", err)
	}
}

// TestFleetHearsWhatCannotBeRevoked: who asks the fleet learns by which scopes some accepted tokens are out of reach.
func TestFleetHearsWhatCannotBeRevoked(t *testing.T) {
	t.Parallel()
	broker := natstest.Start(t)
	nc := broker.Connect(t)
	ensure(t, nc, events.Layout{})
	v, _ := node(t, broker.URL(), func(c *verifier.Config) { c.Node, c.MaxStaleness = "one", time.Minute })
	eventually(t, "the node to be ready", func() bool { return v.Ready() == nil })
	heard := func() []string {
		t.Helper()
		var answers []events.Answer
		eventually(t, "the node answers", func() bool {
			var err error
			if answers, err = events.AskFleet(t.Context(), nc, events.Question{Expect: []string{"one"}, Quiet: time.Minute}); err != nil {
				t.Fatal(err)
			}
			return len(answers) == 1
		})
		return answers[0].Report.Unenforceable
	}
	now := time.Now()
	if err := verifyErr(v, mint(now, nil)); err != nil {
		t.Fatal(err)
	}
	if got := heard(); len(got) != 0 {
		t.Errorf("after a token with all claims: got %q, want nothing", got)
	}
	if err := verifyErr(v, mint(now, object{"sid": nil})); err != nil {
		t.Fatal(err)
	}
	if err := verifyErr(v, mint(now, object{"sid": nil, "exp": now.Add(-time.Hour).Unix()})); err == nil {
		t.Fatal("an expired token was accepted")
	}
	if got := heard(); !slices.Equal(got, []string{"session"}) {
		t.Errorf("after a token without sid: got %q, want session", got)
	}
}
