package verifier_test

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
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
	if !strings.Contains(logged.String(), "another process writes") {
		t.Errorf("the log does not say why:\n%s", logged)
	}
	if _, err := os.Stat(file + ".refused"); err == nil {
		t.Error("the first one's file was moved away")
	}
}
