package verifier_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier"
)

const (
	issA = "https://a.example"
	issB = "https://b.example"
	api  = "https://api.example"
)

// patience is a limit for a broken run: nothing that works waits for it, however slow the machine is.
const patience = 3 * time.Minute

// start is when the tests' clocks begin.
var start = time.Unix(1_900_000_000, 0)

// testClock is a clock that only moves when it is told to.
type testClock struct{ nanos atomic.Int64 }

func newClock() *testClock {
	c := &testClock{}
	c.nanos.Store(start.UnixNano())
	return c
}

func (c *testClock) Now() time.Time          { return time.Unix(0, c.nanos.Load()) }
func (c *testClock) Advance(d time.Duration) { c.nanos.Add(int64(d)) }

// memFeed is a Feed in memory. What is published is in force when publish returns.
type memFeed struct {
	now    func() time.Time
	began  chan struct{}
	once   sync.Once
	layout events.Layout

	mu    sync.Mutex // guards apply, seq; held while applying
	apply events.Apply
	seq   uint64

	synced      atomic.Bool
	asOf        atomic.Int64 // nanoseconds; 0: the clock's present
	undecodable atomic.Uint64
}

func newFeed(now func() time.Time) *memFeed {
	f := &memFeed{now: now, began: make(chan struct{})}
	f.synced.Store(true)
	return f
}

func (f *memFeed) Run(ctx context.Context, apply events.Apply) error {
	f.mu.Lock()
	f.apply = apply
	f.mu.Unlock()
	f.once.Do(func() { close(f.began) })
	<-ctx.Done()
	f.mu.Lock() // wait for a publish under way
	f.apply = nil
	f.mu.Unlock()
	return nil
}

func (f *memFeed) Freshness(now time.Time) events.Freshness {
	select {
	case <-f.began:
	default:
		return events.Freshness{}
	}
	if !f.synced.Load() {
		return events.Freshness{}
	}
	asOf := now
	if n := f.asOf.Load(); n != 0 {
		asOf = time.Unix(0, n)
	}
	return events.Freshness{Synced: true, AsOf: asOf, Staleness: now.Sub(asOf)}
}

func (f *memFeed) Status() events.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return events.Status{Sequence: f.seq, Head: f.seq, Layout: f.layout, Undecodable: f.undecodable.Load()}
}

func (f *memFeed) WaitApplied(context.Context, events.Position) error { return nil }

// silence stops the feed's progress; heal resumes it.
func (f *memFeed) silence() { f.asOf.Store(f.now().UnixNano()) }
func (f *memFeed) heal()    { f.asOf.Store(0) }

func (f *memFeed) publish(rs ...events.Revocation) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.apply == nil {
		return errors.New("the feed does not run")
	}
	batch := make([]events.Event, len(rs))
	for i, r := range rs {
		f.seq++
		batch[i] = events.Event{Revocation: r, Sequence: f.seq, Time: f.now()}
	}
	return f.apply(context.Background(), batch)
}

// signer is one signing key of an issuer.
type signer struct {
	kid    string
	method jwt.SigningMethod
	key    any // private
}

func newES256(kid string) signer {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return signer{kid, jwt.SigningMethodES256, k}
}

func (s signer) public() crypto.PublicKey { return s.key.(crypto.Signer).Public() }

// keyA and keyB are the keys of the two issuers.
var keyA, keyB = newES256("a1"), newES256("b1")

type object = map[string]any

// compact signs any two texts as header and payload.
func (s signer) compact(header, payload string) string {
	signed := b64(header) + "." + b64(payload)
	sig, err := s.method.Sign(signed, s.key)
	if err != nil {
		panic(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// header is that of a good token.
func (s signer) header() object { return object{"alg": s.method.Alg(), "typ": "at+jwt", "kid": s.kid} }

// goodClaims are accepted as they are.
func goodClaims(iss string, now time.Time) object {
	return object{
		"iss": iss, "aud": api, "sub": "u1", "client_id": "c1", "jti": "j1", "sid": "s1",
		"iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(), "scope": "read write",
	}
}

// with returns a copy of o with changes; nil removes.
func with(o object, changes object) object {
	o = maps.Clone(o)
	for name, value := range changes {
		if value == nil {
			delete(o, name)
		} else {
			o[name] = value
		}
	}
	return o
}

// mint makes a good token of issuer A with changed claims.
func mint(now time.Time, changes object) string {
	h := keyA.header()
	if changes["once"] == true {
		h["typ"] = "once+jwt"
	}
	return keyA.compact(text(h), text(with(goodClaims(issA, now), changes)))
}

func issuerA() verifier.Issuer {
	return verifier.Issuer{Issuer: issA, Audience: []string{api}, Keys: []verifier.PublicKey{{ID: "a1", Key: keyA.public()}}}
}

func issuerB() verifier.Issuer {
	return verifier.Issuer{Issuer: issB, Audience: []string{api}, Keys: []verifier.PublicKey{{ID: "b1", Key: keyB.public()}}}
}

// rig is a verifier with its clock and feed.
type rig struct {
	*verifier.Verifier
	clock *testClock
	feed  *memFeed
	stop  func() // ends Run and waits
}

// newRig makes a verifier of issuers A and B and runs it. change may be nil.
func newRig(t testing.TB, change func(*verifier.Config, *memFeed)) *rig {
	t.Helper()
	r := &rig{clock: newClock()}
	r.feed = newFeed(r.clock.Now)
	c := verifier.Config{
		Issuers: []verifier.Issuer{issuerA(), issuerB()}, Feed: r.feed, Now: r.clock.Now, Node: "node-1",
	}
	if change != nil {
		change(&c, r.feed)
	}
	var err error
	if r.Verifier, err = verifier.New(c); err != nil {
		t.Fatal(err)
	}
	r.stop = runs(t, r.Verifier)
	<-r.feed.began
	return r
}

// runs starts v and returns what stops it; the test's end does it too.
func runs(t testing.TB, v *verifier.Verifier) func() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// revoke publishes complete statements.
func (r *rig) revoke(t testing.TB, rs ...events.Revocation) {
	t.Helper()
	for i := range rs {
		rs[i] = r.complete(rs[i])
	}
	if err := r.feed.publish(rs...); err != nil {
		t.Fatalf("publish: %v", err)
	}
}

func (r *rig) complete(s events.Revocation) events.Revocation {
	now := r.clock.Now()
	if s.Issuer == "" {
		s.Issuer = issA
	}
	if s.Until.IsZero() {
		s.Until = events.Retention{}.Until(now)
	}
	if s.Before.IsZero() && s.Scope >= events.Subject && s.Scope != events.Key {
		s.Before = now
	}
	return s
}

// accepts and refuses check one token.
func (r *rig) accepts(t testing.TB, what, raw string) *verifier.Token {
	t.Helper()
	token, err := r.Verify(context.Background(), raw)
	if err != nil {
		t.Fatalf("%s: refused: %v", what, err)
	}
	return token
}

func (r *rig) refuses(t testing.TB, what, raw string, want error) {
	t.Helper()
	token, err := r.Verify(context.Background(), raw)
	if !errors.Is(err, want) {
		t.Fatalf("%s: got %v, want %v", what, err, want)
	}
	if token != nil {
		t.Fatalf("%s: a refused token was returned", what)
	}
	if want != verifier.ErrStale && errors.Is(err, verifier.ErrInvalid) == errors.Is(err, verifier.ErrStale) {
		t.Fatalf("%s: %v must be either invalid or not judged", what, err)
	}
}

// eventually polls a condition that no event announces.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !condition() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
