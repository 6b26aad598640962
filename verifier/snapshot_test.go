package verifier_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/verifier"
)

// TestWarmStartWhileTheBrokerIsAway: the broker is killed, the node restarts from its snapshot and serves, and what was revoked stays
// revoked; without the snapshot it does not serve.
func TestWarmStartWhileTheBrokerIsAway(t *testing.T) {
	t.Parallel()
	broker := natstest.StartProcess(t, t.TempDir(), natstest.FreePorts(t, 1)[0])
	nc := broker.Connect(t)
	ensure(t, nc, events.Layout{})
	p := publisher(t, nc)
	file := filepath.Join(t.TempDir(), "snapshot")
	now := time.Now()
	// A minute: the bound must outlive the restarts of this test on a slow machine.
	long := func(c *verifier.Config) { c.Snapshot, c.MaxStaleness = file, time.Minute }
	v, stop := node(t, broker.URL(), long)
	for n := range 100 {
		if _, err := p.Publish(t.Context(), events.Revocation{Issuer: issA, Scope: events.Session, Key: fmt.Sprint("s", n)}); err != nil {
			t.Fatal(err)
		}
	}
	confirmed(t, nc, p, events.Revocation{Issuer: issA, Scope: events.Subject, Key: "out", Gen: 7})
	asOf := v.Status().AsOf
	stop() // the mark is written at the end, or within a second before a crash: see the test with the program
	broker.Kill()

	warm, stop := node(t, broker.URL(), long)
	eventually(t, "the warm node to be ready", func() bool { return warm.Ready() == nil })
	if got := warm.Status(); got.AsOf.Before(asOf) || got.Staleness <= 0 {
		t.Errorf("as-of %v, staleness %v; it was complete up to %v", got.AsOf, got.Staleness, asOf)
	}
	good := mint(now, object{"sid": "other", "sub": "in", "gen": 1})
	if err := verifyErr(warm, good); err != nil {
		t.Errorf("a good token: %v", err)
	}
	for n := range 100 {
		if err := verifyErr(warm, mint(now, object{"sid": fmt.Sprint("s", n)})); !errors.Is(err, verifier.ErrRevoked) {
			t.Fatalf("session %d: got %v, want ErrRevoked", n, err)
		}
	}
	if err := verifyErr(warm, mint(now, object{"sid": "x", "sub": "out", "gen": 6})); !errors.Is(err, verifier.ErrRevoked) {
		t.Errorf("an older generation: got %v, want ErrRevoked", err)
	}
	if err := verifyErr(warm, mint(now, object{"sid": "x", "sub": "out", "gen": 7})); err != nil {
		t.Errorf("the new generation: %v", err)
	}
	// The broker comes back: what it holds counts again.
	broker.Restart(t)
	eventually(t, "the node follows the stream again", func() bool { return warm.Status().Feed.Synced })
	again := broker.Connect(t)
	confirmed(t, again, publisher(t, again), events.Revocation{Issuer: issA, Scope: events.Session, Key: "other"})
	eventually(t, "the live revocation", func() bool { return errors.Is(verifyErr(warm, good), verifier.ErrRevoked) })
	size := func() int64 {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	grown := size()
	if grown > 30_000 { // about 60 bytes each; what is read again from the stream is not written again
		t.Errorf("102 statements take %d bytes", grown)
	}
	stop()
	broker.Kill()

	cold, _ := node(t, broker.URL(), func(c *verifier.Config) { c.MaxStaleness = time.Minute })
	if err := verifyErr(cold, good); !errors.Is(err, verifier.ErrStale) {
		t.Errorf("without a snapshot: got %v, want ErrStale", err)
	}
	last, _ := node(t, broker.URL(), long)
	eventually(t, "the last node to be ready", func() bool { return last.Ready() == nil })
	if err := verifyErr(last, good); !errors.Is(err, verifier.ErrRevoked) {
		t.Errorf("what was revoked live: got %v, want ErrRevoked", err)
	}
}

// stored is a snapshot that a node left behind, and the clock to go on with.
func stored(t *testing.T, change func(*verifier.Config, *memFeed)) (file string, clock *testClock, logged *logBuffer) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "snapshot")
	logged = &logBuffer{}
	r := newRig(t, func(c *verifier.Config, f *memFeed) {
		c.Snapshot = file
		if change != nil {
			change(c, f)
		}
	})
	r.revoke(t, events.Revocation{Scope: events.Session, Key: "s1"})
	r.clock.Advance(time.Second)
	r.stop()
	return file, r.clock, logged
}

// restart is a node whose broker is away.
func restart(t *testing.T, file string, clock *testClock, logged *logBuffer, change func(*verifier.Config)) *verifier.Verifier {
	t.Helper()
	feed := newFeed(clock.Now)
	feed.synced.Store(false)
	c := verifier.Config{Issuers: []verifier.Issuer{issuerA(), issuerB()}, Feed: feed, Now: clock.Now, Snapshot: file, Logger: slog.New(slog.NewTextHandler(logged, nil))}
	if change != nil {
		change(&c)
	}
	v, err := verifier.New(c)
	if err != nil {
		t.Fatal(err)
	}
	runs(t, v)
	<-feed.began
	return v
}

func TestSnapshotServesNoLongerThanItsBound(t *testing.T) {
	t.Parallel()
	for _, policy := range []verifier.StalePolicy{verifier.Deny, verifier.Allow} {
		file, clock, logged := stored(t, nil)
		clock.Advance(20 * time.Second)
		v := restart(t, file, clock, logged, func(c *verifier.Config) { c.OnStale = policy })
		good, revoked := mint(clock.Now(), object{"sid": "s2"}), mint(clock.Now(), object{"sid": "s1"})
		if err := verifyErr(v, good); err != nil {
			t.Errorf("%v, 20 s old: %v", policy, err)
		}
		if err := verifyErr(v, revoked); !errors.Is(err, verifier.ErrRevoked) {
			t.Errorf("%v: revoked token: %v", policy, err)
		}
		clock.Advance(11 * time.Second)
		if err := verifyErr(v, good); !errors.Is(err, verifier.ErrStale) {
			t.Errorf("%v, 31 s old: got %v, want ErrStale: a snapshot is no sync", policy, err)
		}
		// Restarting does not make it younger.
		again := restart(t, file, clock, logged, func(c *verifier.Config) { c.OnStale = policy })
		if err := verifyErr(again, good); !errors.Is(err, verifier.ErrStale) {
			t.Errorf("%v, restarted: got %v, want ErrStale", policy, err)
		}
	}
}

func TestSnapshotsThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what   string
		break_ func(t *testing.T, file string, clock *testClock)
		config func(*verifier.Config)
		says   string
		kept   bool
	}{
		{"damaged", func(t *testing.T, file string, _ *testClock) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			content[len(content)/2] ^= 1
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}, nil, "damaged snapshot", true},
		{"that others may write", func(t *testing.T, file string, _ *testClock) {
			if err := os.Chmod(file, 0o666); err != nil {
				t.Fatal(err)
			}
		}, nil, "others may have written", true},
		{"from the future", func(_ *testing.T, _ string, clock *testClock) { clock.Advance(-10 * time.Second) }, nil, "from the future", false},
		{"of other issuers", nil, func(c *verifier.Config) { c.Issuers = c.Issuers[:1] }, "another configuration", true},
	} {
		file, clock, logged := stored(t, nil)
		if c.break_ != nil {
			c.break_(t, file, clock)
		}
		v := restart(t, file, clock, logged, c.config)
		if err := verifyErr(v, mint(clock.Now(), object{"sid": "s2"})); !errors.Is(err, verifier.ErrStale) {
			t.Errorf("%s: got %v, want ErrStale", c.what, err)
		}
		if !strings.Contains(logged.String(), c.says) {
			t.Errorf("%s: the log does not say %q:\n%s", c.what, c.says, logged)
		}
		if _, err := os.Stat(file + ".refused"); (err == nil) != c.kept {
			t.Errorf("%s: the refused file: %v", c.what, err)
		}
	}
}

// TestNoMarkWhileSomethingIsMissing: a statement that could not be read is forgotten by a restart, so nothing may be called complete
// after it.
func TestNoMarkWhileSomethingIsMissing(t *testing.T) {
	t.Parallel()
	file, clock, logged := stored(t, func(_ *verifier.Config, f *memFeed) { f.undecodable.Store(1) })
	v := restart(t, file, clock, logged, nil)
	if err := verifyErr(v, mint(clock.Now(), object{"sid": "s2"})); !errors.Is(err, verifier.ErrStale) {
		t.Errorf("got %v, want ErrStale", err)
	}
	if err := verifyErr(v, mint(clock.Now(), object{"sid": "s1"})); errors.Is(err, nil) {
		t.Error("a revoked token was accepted")
	}
}

func TestSnapshotNeedsADirectory(t *testing.T) {
	t.Parallel()
	for _, path := range []string{filepath.Join(t.TempDir(), "none", "snapshot"), t.TempDir()} {
		_, err := verifier.New(verifier.Config{Issuers: []verifier.Issuer{issuerA()}, Feed: newFeed(time.Now), Snapshot: path})
		if !errors.Is(err, verifier.ErrConfig) || !strings.Contains(err.Error(), "Snapshot") {
			t.Errorf("%q: got %v, want ErrConfig that names Snapshot", path, err)
		}
	}
}
