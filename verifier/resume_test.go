package verifier_test

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/verifier"
)

func session(n int) events.Revocation {
	return events.Revocation{Issuer: issA, Scope: events.Session, Key: fmt.Sprint("s", n)}
}

// refuses demands that the sessions below n are revoked at a ready node.
func refuses(t *testing.T, what string, v *verifier.Verifier, n int) {
	t.Helper()
	eventually(t, what+" to be synced", func() bool { return v.Ready() == nil && v.Status().Feed.Synced })
	for k := range n {
		if err := v.Revoked(verifier.Claims{Issuer: issA, Session: fmt.Sprint("s", k)}); !errors.Is(err, verifier.ErrRevoked) {
			t.Fatalf("%s: session %d of %d: got %v, want ErrRevoked", what, k, n, err)
		}
	}
}

// TestRestartReadsOnlyTheRest: with a snapshot a node goes on where it was, and holds what one holds that has read everything.
func TestRestartReadsOnlyTheRest(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	nc := server.Connect(t)
	js := ensure(t, nc, events.Layout{})
	p := publisher(t, nc)
	file := filepath.Join(t.TempDir(), "snapshot")
	with := func(c *verifier.Config) { c.Snapshot = file }
	revoke := func(from, to int) {
		for n := from; n < to; n++ {
			if _, err := p.Publish(t.Context(), session(n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	revoke(0, 100)
	v, stop := node(t, server.URL(), with)
	refuses(t, "the first node", v, 100)
	stop()
	revoke(100, 110)
	v, stop = node(t, server.URL(), with)
	refuses(t, "the node that goes on", v, 110)
	// The landmark may be read again, if the last beacon is not there any more.
	if got := v.Status().Feed; got.Events > 11 || got.Rewinds != 0 {
		t.Errorf("%d statements read, %d rewinds; 10 are new", got.Events, got.Rewinds)
	}
	cold, _ := node(t, server.URL(), nil)
	refuses(t, "a node without a snapshot", cold, 110)
	if got := cold.Status().Feed.Events; got != 110 {
		t.Errorf("without a snapshot %d statements were read", got)
	}
	eventually(t, "both hold the same", func() bool {
		a, b := v.Report(), cold.Report()
		return a.Digest == b.Digest && a.Digest != 0
	})
	stop()

	// Nobody runs while the stream is made anew. What was known stays known.
	if err := js.DeleteStream(t.Context(), events.StreamName); err != nil {
		t.Fatal(err)
	}
	ensure(t, nc, events.Layout{})
	revoke(110, 120)
	v, stop = node(t, server.URL(), with)
	refuses(t, "the node behind the new stream", v, 120)
	if v.Status().Feed.Rewinds == 0 {
		t.Error("the new stream was not noticed")
	}
	stop()
	v, _ = node(t, server.URL(), with)
	refuses(t, "the node that goes on in it", v, 120)
	if got := v.Status().Feed; got.Events > 1 || got.Rewinds != 0 {
		t.Errorf("%d statements read, %d rewinds; none is new", got.Events, got.Rewinds)
	}
}

// TestPlaceIsNeverAheadOfTheFile: whenever a node was killed, and wherever that cut its file, the next one lacks nothing.
func TestPlaceIsNeverAheadOfTheFile(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	nc := server.Connect(t)
	ensure(t, nc, events.Layout{})
	p := publisher(t, nc)
	dir := t.TempDir()
	file := filepath.Join(dir, "snapshot")
	v, _ := node(t, server.URL(), func(c *verifier.Config) { c.Snapshot = file })
	eventually(t, "ready", func() bool { return v.Ready() == nil })
	const crashes = 10
	n := 0
	for k := range crashes {
		for since := v.Status().AsOf; n < (k+1)*30 || !v.Status().AsOf.After(since.Add(400*time.Millisecond)); n++ {
			if _, err := p.Publish(t.Context(), session(n)); err != nil {
				t.Fatal(err)
			}
		}
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		cut := len(whole) - rand.IntN(min(400, len(whole)))
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("crash", k)), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wentOn := 0
	for k := range crashes {
		logged := &logBuffer{}
		v, stop := node(t, server.URL(), func(c *verifier.Config) {
			c.Snapshot, c.Logger = filepath.Join(dir, fmt.Sprint("crash", k)), slog.New(slog.NewTextHandler(logged, nil))
		})
		refuses(t, fmt.Sprint("after crash ", k), v, n)
		stop()
		if strings.Contains(logged.String(), "going on in the revocation stream") {
			wentOn++
		}
	}
	if wentOn < crashes/2 {
		t.Errorf("%d of %d went on from a place: this test shows little", wentOn, crashes)
	}
}

// TestNoPlaceInAFileBegunAnew: a node whose file had to be begun anew reads the whole stream, or the new file would lack what was in the old one.
func TestNoPlaceInAFileBegunAnew(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	nc := server.Connect(t)
	js := ensure(t, nc, events.Layout{})
	p := publisher(t, nc)
	const n = 40
	for k := range n {
		if _, err := p.Publish(t.Context(), session(k)); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "snapshot")
	with := func(c *verifier.Config) { c.Snapshot = file }
	v, stop := node(t, server.URL(), with)
	refuses(t, "the first node", v, n)
	stop()
	v, stop = node(t, server.URL(), func(c *verifier.Config) {
		with(c)
		c.Logger = slog.New(slog.NewTextHandler(logHook(func(text string) {
			if strings.Contains(text, "snapshot loaded") {
				if err := os.Chmod(file, 0o622); err != nil {
					t.Error(err)
				}
			}
		}), nil))
	})
	refuses(t, "the node with a new file", v, n)
	stop()
	if _, err := os.Stat(file + ".refused"); err != nil {
		t.Fatalf("the file was gone on with: %v", err)
	}
	v, _ = node(t, server.URL(), with)
	refuses(t, "the node that has read the new file", v, n)
	stream, err := js.Stream(t.Context(), events.StreamName)
	if err != nil || stream.CachedInfo().State.Msgs < n {
		t.Errorf("the stream itself holds less: %v", err)
	}
}
