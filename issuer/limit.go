package issuer

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quash-auth/quash/events"
)

// limit bounds how fast one operator or system ends things, for all replicas together: whoever steals a credential must not be
// able to log everybody out one by one. Wide statements have a much smaller bound of their own.
type limit struct {
	narrow, wide *throttle
	refused      atomic.Uint64
}

func (t *throttle) with(burst int, every time.Duration) *throttle {
	u := *t
	u.pace = pace{float64(burst), every}
	return &u
}

// wide reports whether a scope covers more than one user.
func wide(s events.Scope) bool { return s == events.Client || s == events.Key || s == events.Issuer }

// take grants one statement or answers 429; back returns the grant if nothing came of it.
func (l *limit) take(ctx context.Context, actor string, isWide bool) (back func(context.Context), err error) {
	t, key, what := l.narrow, throttleKey("r", actor), "too many revocations by you, nothing was done"
	if isWide {
		t, key, what = l.wide, throttleKey("w", actor), "too many wide revocations by you, nothing was done"
	}
	err = t.add(ctx, key, 1)
	if throttled := (*ThrottledError)(nil); errors.As(err, &throttled) {
		l.refused.Add(1)
		return nil, &fault{status: http.StatusTooManyRequests, code: "temporarily_unavailable", description: what,
			after: max(throttled.After, time.Second)}
	}
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) { _ = t.add(ctx, key, -1) }, nil // else it comes back with time
}

// turns lets one caller in at a time for each key. The zero value is ready.
type turns struct {
	mu   sync.Mutex // guards what follows
	keys map[string]*turn
}

type turn struct {
	busy    chan struct{} // one slot
	callers int
}

func (t *turns) take(ctx context.Context, key string) (done func(), err error) {
	t.mu.Lock()
	k := t.keys[key]
	if k == nil {
		if t.keys == nil {
			t.keys = map[string]*turn{}
		}
		k = &turn{busy: make(chan struct{}, 1)}
		t.keys[key] = k
	}
	k.callers++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if k.callers--; k.callers == 0 {
			delete(t.keys, key)
		}
	}
	select {
	case k.busy <- struct{}{}:
		return func() { <-k.busy; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, unavailable(ctx.Err())
	}
}
