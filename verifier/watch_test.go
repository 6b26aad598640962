package verifier_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier"
)

// overWith waits for a watch to end and compares its cause.
func overWith(t testing.TB, what string, ctx context.Context, want error) {
	t.Helper()
	select {
	case <-ctx.Done():
	case <-time.After(patience):
		t.Fatalf("%s: the watch did not end", what)
	}
	if got := context.Cause(ctx); !errors.Is(got, want) {
		t.Fatalf("%s: got cause %v, want %v", what, got, want)
	}
}

func alive(t testing.TB, what string, ctx context.Context) {
	t.Helper()
	if ctx.Err() != nil {
		t.Fatalf("%s: the watch ended: %v", what, context.Cause(ctx))
	}
}

func TestPeerBug23_OpenConnection(t *testing.T) {
	t.Parallel()
	for _, s := range []events.Revocation{
		{Scope: events.Token, Key: "j1"}, {Scope: events.Session, Key: "s1"}, {Scope: events.Subject, Key: "u1"},
		{Scope: events.Client, Key: "c1"}, {Scope: events.Key, Key: "a1"}, {Scope: events.Issuer},
	} {
		r := newRig(t, nil)
		now := r.clock.Now()
		token := r.accepts(t, "good", mint(now, nil))
		b := keyB.compact(text(keyB.header()), text(goodClaims(issB, now)))
		first, cancelFirst := r.Watch(context.Background(), token)
		second, cancelSecond := r.Watch(context.Background(), token)
		other, cancelOther := r.Watch(context.Background(), r.accepts(t, "B", b))
		defer cancelFirst()
		defer cancelSecond()
		defer cancelOther()
		for _, unrelated := range []events.Revocation{
			{Scope: events.Token, Key: "j9"}, {Scope: events.Session, Key: "j1"}, {Scope: events.Token, Key: "s1"},
			{Scope: events.Subject, Key: "u1", Gen: 1, Before: now.Add(-time.Hour)}, {Scope: s.Scope, Key: s.Key, Issuer: "https://c.example"},
		} {
			r.revoke(t, unrelated)
		}
		alive(t, "after unrelated statements", first)
		if s.Scope >= events.Subject {
			r.revoke(t, events.Revocation{Scope: s.Scope, Key: s.Key, Before: now.Add(-time.Second)})
			alive(t, "after a statement about older tokens", first)
		}
		r.revoke(t, s)
		// Applied means ended: no waiting.
		for _, ctx := range []context.Context{first, second} {
			if got := context.Cause(ctx); !errors.Is(got, verifier.ErrRevoked) {
				t.Fatalf("%s: got cause %v, want ErrRevoked", s.Scope, got)
			}
		}
		alive(t, "the same claims at another issuer", other)
		if got := r.Stats().WatchesRevoked; got != 2 {
			t.Errorf("%s: got %d watches ended, want 2", s.Scope, got)
		}
		again, cancelAgain := r.Watch(context.Background(), token)
		overWith(t, "a watch of a revoked token", again, verifier.ErrRevoked)
		cancelAgain()
	}
}

func TestWatchLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	now := r.clock.Now()
	parent, end := context.WithCancelCause(context.Background())
	var cancels []context.CancelFunc
	for i := range 300 {
		token := r.accepts(t, "good", mint(now, object{"jti": fmt.Sprint("j", i%7), "sid": fmt.Sprint("s", i%3)}))
		_, cancel := r.Watch(parent, token)
		cancels = append(cancels, cancel)
	}
	if got := r.Status().Watches; got != 300 {
		t.Fatalf("watches: got %d, want 300", got)
	}
	for _, i := range []int{5, 299, 0, 150, 5} {
		cancels[i]()
	}
	if got := r.Status().Watches; got != 296 {
		t.Fatalf("watches: got %d, want 296", got)
	}
	r.revoke(t, events.Revocation{Scope: events.Token, Key: "j3"})
	before := r.Status().Watches
	if want := 296 - 42; before != want { // 3, 10, ... 297, without 150
		t.Fatalf("watches after a revocation: got %d, want %d", before, want)
	}
	why := errors.New("the connection closed")
	end(why)
	eventually(t, "the index to be empty", func() bool { return r.Status().Watches == 0 && verifier.IndexedWatches(r.Verifier) == 0 })
}

func TestWatchKeepsTheParentsCause(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	token := r.accepts(t, "good", mint(r.clock.Now(), nil))
	parent, end := context.WithCancelCause(context.Background())
	ctx, cancel := r.Watch(parent, token)
	defer cancel()
	why := errors.New("gone")
	end(why)
	overWith(t, "parent", ctx, why)
	mine, cancel := r.Watch(context.Background(), token)
	cancel()
	cancel()
	overWith(t, "cancel", mine, context.Canceled)
	none, cancel := r.Watch(context.Background(), nil)
	defer cancel()
	overWith(t, "no token", none, verifier.ErrInvalid)
}

// TestWatchOfATokenOfAnotherVerifier: what one verifier hashed means nothing to another.
func TestWatchOfATokenOfAnotherVerifier(t *testing.T) {
	t.Parallel()
	one, two := newRig(t, nil), newRig(t, nil)
	token := one.accepts(t, "good", mint(one.clock.Now(), nil))
	ctx, cancel := two.Watch(context.Background(), token)
	defer cancel()
	alive(t, "before", ctx)
	two.revoke(t, events.Revocation{Scope: events.Token, Key: "j1"})
	overWith(t, "other verifier", ctx, verifier.ErrRevoked)
}

// TestWatchSeesWhatCameBeforeIt: no statement may fall between Verify and Watch.
func TestWatchSeesWhatCameBeforeIt(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	now := r.clock.Now()
	const rounds = 2000
	for i := range rounds {
		jti := fmt.Sprint("race-", i)
		token := r.accepts(t, "good", mint(now, object{"jti": jti}))
		var both sync.WaitGroup
		both.Go(func() { r.revoke(t, events.Revocation{Scope: events.Token, Key: jti}) })
		ctx, cancel := r.Watch(context.Background(), token)
		both.Wait()
		overWith(t, jti, ctx, verifier.ErrRevoked)
		cancel()
	}
}

func TestWatchEndsWithTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed(time.Now)
		v, err := verifier.New(verifier.Config{Issuers: []verifier.Issuer{issuerA()}, Feed: f, Now: time.Now, MemoBytes: -1})
		if err != nil {
			t.Fatal(err)
		}
		stop := runs(t, v)
		defer stop()
		<-f.began
		token, err := v.Verify(context.Background(), mint(time.Now(), object{"exp": time.Now().Add(time.Minute).Unix()}))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := v.Watch(context.Background(), token)
		defer cancel()
		time.Sleep(time.Minute + 29*time.Second) // the bubble's clock: nothing waits
		synctest.Wait()
		alive(t, "inside the leeway", ctx)
		time.Sleep(time.Second)
		synctest.Wait()
		overWith(t, "after it", ctx, verifier.ErrExpired)
		late, cancel := v.Watch(context.Background(), token)
		defer cancel()
		overWith(t, "already expired", late, verifier.ErrExpired)
	})
}

// TestWatchNoticesAMovedClock: the timers run on another clock than exp.
func TestWatchNoticesAMovedClock(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *verifier.Config, _ *memFeed) { c.MaxStaleness = 40 * time.Millisecond })
	ctx, cancel := r.Watch(context.Background(), r.accepts(t, "good", mint(r.clock.Now(), nil)))
	defer cancel()
	r.clock.Advance(11 * time.Minute)
	overWith(t, "clock moved", ctx, verifier.ErrExpired)
}

func TestWatchEndsWhenTheViewIsTooOld(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *verifier.Config, _ *memFeed) { c.MaxStaleness = 100 * time.Millisecond })
	token := r.accepts(t, "good", mint(r.clock.Now(), nil))
	strict, cancel := r.Watch(context.Background(), token)
	defer cancel()
	lax, cancelLax := r.WatchWithin(context.Background(), token, verifier.FreshnessRule{MaxStaleness: time.Millisecond, OnStale: verifier.Allow, Set: true})
	defer cancelLax()
	r.feed.silence()
	r.clock.Advance(101 * time.Millisecond)
	overWith(t, "Deny", strict, verifier.ErrStale)
	alive(t, "Allow", lax)
	r.revoke(t, events.Revocation{Scope: events.Session, Key: "s1"})
	overWith(t, "revoked while stale", lax, verifier.ErrRevoked)
}

func TestWatchEndsWithRun(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	ctx, cancel := r.Watch(context.Background(), r.accepts(t, "good", mint(r.clock.Now(), nil)))
	defer cancel()
	r.stop()
	overWith(t, "stopped", ctx, verifier.ErrStale)
}
