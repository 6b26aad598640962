package verifier_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier"
)

// remember verifies raw until the memo answers.
func (r *rig) remember(t testing.TB, raw string) {
	t.Helper()
	eventually(t, "the memo to have the token", func() bool {
		before := r.Stats().MemoHits
		r.accepts(t, "remember", raw)
		return r.Stats().MemoHits > before
	})
}

// TestMemoHitSkipsNothing: what can change after a token was verified is asked on every hit.
func TestMemoHitSkipsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	now := r.clock.Now()
	tokens := map[string]string{}
	for _, jti := range []string{"revoked", "stale", "old"} {
		tokens[jti] = mint(now, object{"jti": jti, "sid": jti, "sub": jti})
		r.remember(t, tokens[jti])
	}
	misses := r.Stats().MemoMisses
	r.revoke(t, events.Revocation{Scope: events.Token, Key: "revoked"})
	r.refuses(t, "denylist", tokens["revoked"], verifier.ErrRevoked)
	r.feed.silence()
	r.clock.Advance(31 * time.Second)
	r.refuses(t, "freshness", tokens["stale"], verifier.ErrStale)
	r.feed.heal()
	r.clock.Advance(-time.Hour - 31*time.Second)
	r.refuses(t, "clock set back: iat lies in the future", tokens["old"], verifier.ErrNotYet)
	r.clock.Advance(time.Hour + 10*time.Minute + 30*time.Second)
	r.refuses(t, "exp", tokens["old"], verifier.ErrExpired)
	if got := r.Stats().MemoMisses; got != misses {
		t.Errorf("%d of the checks were not about a remembered token", got-misses)
	}
}

// TestMemoHitAllocates holds the promise of the package's benchmarks.
func TestMemoHitAllocates(t *testing.T) {
	r := newRig(t, nil)
	raw := mint(r.clock.Now(), nil)
	r.remember(t, raw)
	for i := range 1000 {
		r.revoke(t, events.Revocation{Scope: events.Scope(i%3 + 1), Key: fmt.Sprint("other-", i)})
	}
	hits := r.Stats().MemoHits
	ctx := context.Background()
	allocs := testing.AllocsPerRun(200, func() {
		if _, err := r.Verify(ctx, raw); err != nil {
			t.Fatal(err)
		}
	})
	if r.Stats().MemoHits == hits {
		t.Fatal("the memo was not used")
	}
	if allocs > 1 && !raceEnabled {
		t.Errorf("got %v allocations, want at most 1", allocs)
	}
}

func TestWithoutMemo(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *verifier.Config, _ *memFeed) { c.MemoBytes = -1 })
	raw := mint(r.clock.Now(), nil)
	for range 3 {
		r.accepts(t, "good", raw)
	}
	if s := r.Stats(); s.MemoHits != 0 || s.Accepted != 3 {
		t.Errorf("stats: got %+v", s)
	}
	r.revoke(t, events.Revocation{Scope: events.Token, Key: "j1"})
	r.refuses(t, "revoked", raw, verifier.ErrRevoked)
}

// TestConcurrentRevokeAndVerify checks with readers that run while statements are applied: from the moment publish returned,
// no reader may accept a covered token, seen before or not, and no other token may be refused.
func TestConcurrentRevokeAndVerify(t *testing.T) {
	t.Parallel()
	const sessions, perSession, readers = 120, 3, 4
	r := newRig(t, nil)
	now := r.clock.Now()
	type probe struct {
		raw     string
		session int
	}
	var probes []probe
	for s := range sessions {
		for n := range perSession {
			probes = append(probes, probe{mint(now, object{"jti": fmt.Sprint(s, "-", n), "sid": fmt.Sprint("sid-", s), "sub": fmt.Sprint("sub-", s)}), s})
		}
	}
	var published [sessions]atomic.Bool // set after publish returned
	var started [sessions]atomic.Bool   // set before it was called
	var over atomic.Bool
	var checks, misses, wrong atomic.Int64
	var all sync.WaitGroup
	for n := range readers {
		all.Go(func() {
			for i := n * 7; !over.Load(); i++ {
				p := probes[i%len(probes)]
				must := published[p.session].Load()
				_, err := r.Verify(context.Background(), p.raw)
				may := started[p.session].Load()
				checks.Add(1)
				switch {
				case err == nil && must:
					misses.Add(1)
				case err != nil && (!may || !errors.Is(err, verifier.ErrRevoked)):
					wrong.Add(1)
				}
			}
		})
	}
	for s := range sessions / 2 { // the other half stays good
		started[s].Store(true)
		before := checks.Load()
		scope, key := events.Session, fmt.Sprint("sid-", s)
		if s%2 == 1 {
			scope, key = events.Subject, fmt.Sprint("sub-", s)
		}
		r.revoke(t, events.Revocation{Scope: scope, Key: key})
		published[s].Store(true)
		eventually(t, "readers to make progress", func() bool { return checks.Load() > before+50 })
	}
	before := checks.Load()
	eventually(t, "a last round", func() bool { return checks.Load() > before+int64(2*len(probes)) })
	over.Store(true)
	all.Wait()
	t.Logf("%d checks", checks.Load())
	if misses.Load() != 0 || wrong.Load() != 0 {
		t.Errorf("of %d checks: %d revoked tokens accepted, %d good tokens refused; want none", checks.Load(), misses.Load(), wrong.Load())
	}
}
