package verifier_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/snapshot"
	"github.com/quash-auth/quash/verifier"
)

// logHook is asked to act on what is logged, before the logger goes on.
type logHook func(text string)

func (h logHook) Write(b []byte) (int, error) { h(string(b)); return len(b), nil }

// TestSnapshotBegunAnewHoldsEverything: a file that was read, and cannot be gone on with, is replaced by a new one. What the denylist
// has from the old one must be in the new one before a mark says that it is complete.
func TestSnapshotBegunAnewHoldsEverything(t *testing.T) {
	t.Parallel()
	file, clock, logged := stored(t, nil)
	exposed := logHook(func(text string) {
		if strings.Contains(text, "snapshot loaded") {
			if err := os.Chmod(file, 0o622); err != nil {
				t.Error(err)
			}
		}
	})
	feed := newFeed(clock.Now)
	v, err := verifier.New(verifier.Config{Issuers: []verifier.Issuer{issuerA(), issuerB()}, Feed: feed, Now: clock.Now,
		Snapshot: file, Logger: slog.New(slog.NewTextHandler(exposed, nil))})
	if err != nil {
		t.Fatal(err)
	}
	stop := runs(t, v)
	<-feed.began
	if _, err := os.Stat(file + ".refused"); err != nil {
		t.Fatalf("the file was gone on with: %v", err)
	}
	// The stream still has the statement, and delivers it.
	s := events.Revocation{Issuer: issA, Scope: events.Session, Key: "s1", Until: events.Retention{}.Until(start)} // as it was
	if err := feed.publish(s); err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Second)
	stop()

	warm := restart(t, file, clock, logged, nil)
	if err := verifyErr(warm, mint(clock.Now(), object{"sid": "s2"})); err != nil {
		t.Errorf("a good token: %v", err)
	}
	if err := verifyErr(warm, mint(clock.Now(), object{"sid": "s1"})); !errors.Is(err, verifier.ErrRevoked) {
		t.Errorf("the revoked one: got %v, want ErrRevoked", err)
	}
}

// TestSnapshotOfTwoNodes: the second one leaves the file of the first alone, says so, and serves without it.
func TestSnapshotOfTwoNodes(t *testing.T) {
	t.Parallel()
	file, clock, logged := stored(t, nil)
	one := restart(t, file, clock, logged, nil)
	two := restart(t, file, clock, logged, func(c *verifier.Config) { c.Issuers = c.Issuers[:1] }) // configured otherwise, too
	for what, v := range map[string]*verifier.Verifier{"first": one, "second": two} {
		want := what == "first"
		if got := v.Ready() == nil; got != want {
			t.Errorf("the %s is ready: %v, want %v", what, got, want)
		}
		if got := v.Status().SnapshotProblem == ""; got != want {
			t.Errorf("the %s writes it: %v, want %v", what, got, want)
		}
	}
	for what, text := range map[string]string{"the log": logged.String(), "the status": two.Status().SnapshotProblem} {
		if !strings.Contains(text, file) || !strings.Contains(text, fmt.Sprintf("another process writes this file (process %d on ", os.Getpid())) {
			t.Errorf("%s does not say why: %s", what, text)
		}
	}
	if _, err := os.Stat(file + ".refused"); err == nil {
		t.Error("the first one's file was moved away")
	}
}

// TestSnapshotOfTwoFirstStarts: another node is about to make the file. This one makes none, and no other's is read either.
func TestSnapshotOfTwoFirstStarts(t *testing.T) {
	t.Parallel()
	file, clock, logged := stored(t, nil)
	for what, there := range map[string]bool{"a file": true, "no file": false} {
		path := file
		if !there {
			path += "-none"
		}
		other, err := snapshot.Own(path)
		if err != nil {
			t.Fatal(err)
		}
		v := restart(t, path, clock, logged, nil)
		if err := verifyErr(v, mint(clock.Now(), object{"sid": "s2"})); !errors.Is(err, verifier.ErrStale) {
			t.Errorf("%s: got %v, want ErrStale", what, err)
		}
		if v.Status().SnapshotProblem == "" {
			t.Errorf("%s: no problem is told", what)
		}
		if _, err := os.Stat(path); (err == nil) != there {
			t.Errorf("%s: %v", what, err)
		}
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSnapshotIsLetGo: also by a node that is stopped while it starts.
func TestSnapshotIsLetGo(t *testing.T) {
	t.Parallel()
	file, clock, _ := stored(t, nil)
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for range 20 {
		v, err := verifier.New(verifier.Config{Issuers: []verifier.Issuer{issuerA(), issuerB()}, Feed: newFeed(clock.Now), Now: clock.Now, Snapshot: file})
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Run(stopped); err != nil {
			t.Fatal(err)
		}
		if p := v.Status().SnapshotProblem; p != "" {
			t.Fatal(p)
		}
		own, err := snapshot.Own(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	}
}
