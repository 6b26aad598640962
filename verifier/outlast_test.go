package verifier_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier"
)

// TestSnapshotKeepsWhatOutlivesItsEqual: the denylist says already what a statement says, but by one that ends before it: when that has
// been compacted away, the statement must be in the file. Who goes on from a place does not read it again.
func TestSnapshotKeepsWhatOutlivesItsEqual(t *testing.T) {
	t.Parallel()
	for what, scope := range map[string]events.Scope{"a subject": events.Subject, "a client": events.Client, "a key": events.Key, "an issuer": events.Issuer} {
		file := filepath.Join(t.TempDir(), "snapshot")
		r := newRig(t, func(c *verifier.Config, _ *memFeed) { c.Snapshot = file })
		of := func(before, until time.Duration) events.Revocation {
			s := events.Revocation{Scope: scope, Before: start.Add(before), Until: start.Add(until)}
			if scope != events.Issuer {
				s.Key = "k"
			}
			return s
		}
		r.revoke(t, of(0, time.Minute))
		r.revoke(t, of(-time.Hour, 3*time.Hour))
		r.revoke(t, of(0, time.Hour))
		r.clock.Advance(10 * time.Minute)
		if err := verifier.Compact(r.Verifier); err != nil {
			t.Fatal(err)
		}
		r.stop()
		v := restart(t, file, r.clock, &logBuffer{}, nil)
		c := verifier.Claims{Issuer: issA, Subject: "s", IssuedAt: start.Add(-time.Minute)}
		switch scope {
		case events.Subject:
			c.Subject = "k"
		case events.Client:
			c.Client = "k"
		case events.Key:
			c.KeyID = "k"
		}
		if err := v.Revoked(c); !errors.Is(err, verifier.ErrRevoked) {
			t.Errorf("%s: got %v, want ErrRevoked", what, err)
		}
	}
}
