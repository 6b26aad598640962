package refresh

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	firstPause = 500 * time.Millisecond // after a first refresh that failed, doubling
	longPause  = 30 * time.Second       // the longest pause, and the one after ErrClient
)

// errPassOn says: a refresh does not help, let the caller see the 401.
var errPassOn = errors.New("pass the answer on")

// Transport is an http.RoundTripper for one session. Make it with New; use it for any number of requests at once.
type Transport struct {
	c       Config
	origins map[string]bool

	saving sync.Mutex // held while tokens are replaced, Save included; taken before mu

	mu       sync.Mutex // guards what follows
	now      state
	flight   *flight           // the refresh under way, if any
	failure  *Error            // of the last refresh, in force until pauseEnd
	pauseEnd time.Time         //
	failures int               // in a row
	fresh    map[string]uint64 // by origin: version that was refused at once after its refresh
	freshEnd time.Time         // until when fresh is believed
}

// state is one set of tokens.
type state struct {
	tokens  Tokens
	version uint64    // counts replacements
	earlyAt time.Time // refresh before expiry from here on; zero: never
}

// flight is one refresh and those who wait for it. err is set before done is closed.
type flight struct {
	done chan struct{}
	err  error
}

// New checks the configuration. Its errors are ErrConfig and name the field.
func New(c Config) (*Transport, error) {
	c, origins, err := c.checked()
	if err != nil {
		return nil, err
	}
	t := &Transport{c: c, origins: origins}
	t.set(c.Tokens)
	return t, nil
}

// Tokens returns the tokens in use: zero when signed out.
func (t *Transport) Tokens() Tokens {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now.tokens
}

// SetTokens replaces the tokens, after the user has logged in (or out, with zero Tokens), and saves them. The
// outcome of a refresh that is under way is then ignored.
func (t *Transport) SetTokens(tokens Tokens) error {
	t.saving.Lock()
	defer t.saving.Unlock()
	return t.replace(tokens)
}

// Wait returns when no refresh is under way, so that a program can end without losing tokens that have just been
// replaced. A refresh ends within Config.Timeout.
func (t *Transport) Wait() {
	t.mu.Lock()
	f := t.flight
	t.mu.Unlock()
	if f != nil {
		<-f.done
	}
}

// current returns the tokens to send a request with.
func (t *Transport) current(ctx context.Context) (state, error) {
	t.mu.Lock()
	s := t.now
	t.mu.Unlock()
	switch {
	case s.tokens.Access == "" && !t.renewable(s):
		return s, &Error{Kind: ErrSignedOut}
	case s.tokens.Access == "":
		return t.renew(ctx, s)
	case !t.renewable(s) || s.earlyAt.IsZero() || t.c.Now().Before(s.earlyAt):
		return s, nil
	}
	next, err := t.renew(ctx, s)
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrClient) {
		return s, nil // the old token may still do; if not, the API says so
	}
	return next, err
}

// renewable reports whether there is a way to newer tokens.
func (t *Transport) renewable(s state) bool { return t.c.Machine || s.tokens.Refresh != "" }

// afterRefusal returns the tokens for the retry of a request that was refused with used.
func (t *Transport) afterRefusal(ctx context.Context, origin string, used state) (state, error) {
	t.mu.Lock()
	version, marked := t.fresh[origin]
	pointless := t.now.version == used.version &&
		(!t.renewable(t.now) || marked && version == used.version && t.c.Now().Before(t.freshEnd))
	t.mu.Unlock()
	if pointless {
		return state{}, errPassOn
	}
	return t.renew(ctx, used)
}

// refusedFresh remembers that an API refuses even a new token, so that not every request causes a refresh.
func (t *Transport) refusedFresh(origin string, used state) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now.version != used.version {
		return
	}
	if t.fresh == nil {
		t.fresh = make(map[string]uint64)
	}
	t.fresh[origin] = used.version
	t.freshEnd = t.c.Now().Add(longPause)
}

// renew returns tokens newer than old: those that are there already, or those of one shared refresh.
func (t *Transport) renew(ctx context.Context, old state) (state, error) {
	t.mu.Lock()
	f := t.flight
	switch {
	case t.now.version != old.version:
		s := t.now
		t.mu.Unlock()
		return s, s.usable()
	case f != nil:
	case t.failure != nil && t.c.Now().Before(t.pauseEnd):
		failed := *t.failure
		failed.RetryAfter = t.pauseEnd.Sub(t.c.Now())
		t.mu.Unlock()
		return state{}, &failed
	default:
		f = &flight{done: make(chan struct{})}
		t.flight = f
		// Ends within Timeout; Wait waits for it.
		go t.fly(context.WithoutCancel(ctx), f, old)
	}
	t.mu.Unlock()
	select {
	case <-f.done:
	case <-ctx.Done():
		return state{}, fmt.Errorf("wait for the refresh: %w", context.Cause(ctx))
	}
	if f.err != nil {
		return state{}, f.err
	}
	t.mu.Lock()
	s := t.now
	t.mu.Unlock()
	if s.version == old.version {
		return t.renew(ctx, old) // it was the refresh of tokens that SetTokens has replaced before
	}
	return s, s.usable()
}

func (s state) usable() error {
	if s.tokens.Access == "" {
		return &Error{Kind: ErrSignedOut}
	}
	return nil
}

// fly does one refresh and tells those who wait.
func (t *Transport) fly(ctx context.Context, f *flight, old state) {
	ctx, cancel := context.WithTimeout(ctx, t.c.Timeout)
	defer cancel()
	tokens, err := t.c.exchange(ctx, old.tokens)
	f.err = t.settle(old, tokens, err)
	t.mu.Lock()
	t.flight = nil
	t.mu.Unlock()
	close(f.done)
}

// settle makes the outcome of a refresh the new state, and returns what to tell those who wait.
func (t *Transport) settle(old state, tokens Tokens, err error) error {
	t.saving.Lock()
	defer t.saving.Unlock()
	t.mu.Lock()
	if t.now.version != old.version {
		t.mu.Unlock()
		return nil // SetTokens came in between: its tokens count
	}
	var failed *Error
	if errors.As(err, &failed) && failed.Kind != ErrSignedOut {
		t.pauseLocked(failed)
		t.mu.Unlock()
		return failed
	}
	t.mu.Unlock()
	return errors.Join(err, t.replace(tokens))
}

// pauseLocked keeps a failure in force for a while. The caller holds mu.
func (t *Transport) pauseLocked(failed *Error) {
	pause := failed.RetryAfter
	if pause == 0 {
		pause = min(firstPause<<min(t.failures, 10), longPause)
		pause = pause/2 + rand.N(pause/2+1)
	}
	if failed.Kind == ErrClient {
		pause = longPause
	}
	t.failures++
	failed.RetryAfter = pause
	t.failure, t.pauseEnd = failed, t.c.Now().Add(pause)
}

// replace saves tokens, then makes them the state even if they could not be saved: the old ones are gone at the
// issuer. The caller holds saving, so that nobody comes in between.
func (t *Transport) replace(tokens Tokens) error {
	var err error
	if t.c.Save != nil {
		err = t.c.Save(tokens)
	}
	t.mu.Lock()
	t.set(tokens)
	t.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSave, err)
	}
	return nil
}

// set makes tokens the state. The caller holds mu, or is New.
func (t *Transport) set(tokens Tokens) {
	s := state{tokens: tokens, version: t.now.version + 1}
	if t.c.Early > 0 && !tokens.Expires.IsZero() {
		early := t.c.Early + rand.N(t.c.Early/5+1)
		// Never before half of its life: Early may be longer than what the issuer gives.
		early = min(early, tokens.Expires.Sub(t.c.Now())/2)
		s.earlyAt = tokens.Expires.Add(-early)
	}
	t.now, t.failure, t.failures, t.fresh = s, nil, 0, nil
}
