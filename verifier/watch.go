package verifier

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quash-auth/quash/cache"
)

// Watch returns a context for work that lasts longer than a request: SSE, WebSocket, a stream of gRPC. It ends when ctx ends,
// and with one of these causes (context.Cause) when the token is not to be accepted any longer:
//
//	ErrRevoked  a statement that covers the token came into force
//	ErrExpired  Verify would refuse it as expired
//	ErrStale    the view of the revocations is older than MaxStaleness and the policy is Deny
//
// A statement that came between Verify and Watch is seen: the context is then over at once. Call the CancelFunc when the
// work is done; if only ctx ends, nothing is leaked either.
func (v *Verifier) Watch(ctx context.Context, t *Token) (context.Context, context.CancelFunc) {
	return v.watch(ctx, t, v.rule)
}

// WatchWithin is Watch with another rule of freshness; it goes with VerifyWithin. A rule that is not valid ends the
// context at once with ErrConfig.
func (v *Verifier) WatchWithin(ctx context.Context, t *Token, f FreshnessRule) (context.Context, context.CancelFunc) {
	rule, err := f.resolve(v.rule)
	if err != nil {
		return ended(ctx, err)
	}
	return v.watch(ctx, t, rule)
}

func ended(ctx context.Context, cause error) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	cancel(cause)
	return ctx, func() {}
}

func (v *Verifier) watch(ctx context.Context, t *Token, rule FreshnessRule) (context.Context, context.CancelFunc) {
	if t == nil {
		return ended(ctx, claimsError("the token", "is missing"))
	}
	w := &watcher{in: &v.watchers, rule: rule, ref: t.ref, until: t.until}
	if t.by != v { // another verifier's token, or one made by hand: its ref means nothing here
		w.ref, w.until = v.ref(t.claims()), t.Expires.Add(v.leeway)
	}
	var watched context.Context
	watched, w.cancel = context.WithCancelCause(ctx)
	v.watchers.add(w, t)
	stop := context.AfterFunc(ctx, func() { w.end(context.Cause(ctx)) })
	// Only now: what comes into force before the watcher was added is seen here, what comes after it is told to it.
	if _, err := v.judge(&w.ref, rule, v.now()); err != nil {
		w.end(v.watchers.count(err))
	} else {
		w.arm()
	}
	return watched, func() {
		stop()
		w.end(context.Canceled)
	}
}

// watcher is one Watch.
type watcher struct {
	in     *watchers
	rule   FreshnessRule
	ref    cache.Ref
	until  time.Time
	cancel context.CancelCauseFunc

	places [6]place // guarded by watchers.mu
	over   atomic.Bool
	mu     sync.Mutex // guards timer
	timer  *time.Timer
}

// end is called from anywhere, any number of times; the first cause counts.
func (w *watcher) end(cause error) {
	if w.over.Swap(true) {
		return
	}
	w.in.remove(w)
	w.mu.Lock()
	if w.timer != nil {
		w.timer.Stop()
	}
	w.mu.Unlock()
	w.cancel(cause)
}

// arm sets the timer for exp. The timer runs on the monotonic clock and exp on the wall clock, so it asks again.
func (w *watcher) arm() {
	rest := w.until.Sub(w.in.v.now())
	if rest <= 0 {
		w.end(w.in.count(errWatchExpired))
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over.Load() {
		w.timer = time.AfterFunc(max(rest, 10*time.Millisecond), w.arm)
	}
}

// recheck asks everything again.
func (w *watcher) recheck(now time.Time) error {
	if !now.Before(w.until) {
		return errWatchExpired
	}
	_, err := w.in.v.judge(&w.ref, w.rule, now)
	return err
}

var errWatchExpired = fmt.Errorf("%w while it was watched", ErrExpired)
