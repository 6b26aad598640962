// Package verifiertest is for the tests of services that embed a verifier: an issuer that mints tokens, a
// verifier that is ready and accepts them, and revocations that are in force when Revoke returns. Everything is
// in memory; nothing is fetched and nothing listens.
package verifiertest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier"
)

const (
	// IssuerURL is the iss of the tokens, unless WithConfig changes it.
	IssuerURL = "https://issuer.test"
	// APIAudience is the aud of the tokens, unless WithConfig changes it.
	APIAudience = "https://api.test"

	keyID   = "verifiertest"
	patient = 10 * time.Second // for things that happen at once; reached only if something is broken
)

// TB is the part of testing.TB that is used here. Examples and small programs can use a Script.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Issuer is an identity provider and a verifier that trusts it. Its methods may be called by any
// number of goroutines; those that can fail end the test.
type Issuer struct {
	t    TB
	key  *ecdsa.PrivateKey
	c    verifier.Config
	v    *verifier.Verifier
	feed *feed

	mu    sync.Mutex // guards what follows
	clock time.Time
	count int
}

// Option changes what New makes.
type Option func(*settings)

type settings struct {
	start  time.Time
	change []func(*verifier.Config)
}

// WithConfig changes the verifier's configuration before it is made: a bound on staleness, a second issuer, ...
// Feed and Now belong to this package; NATS must stay nil.
func WithConfig(change func(*verifier.Config)) Option {
	return func(s *settings) { s.change = append(s.change, change) }
}

// WithStart sets the clock's first instant. Default: the present second.
func WithStart(start time.Time) Option { return func(s *settings) { s.start = start } }

// New returns an issuer and a verifier that is ready. Both end with the test. The clock stands still
// until Advance moves it.
func New(t TB, opts ...Option) *Issuer {
	t.Helper()
	s := settings{start: time.Now().Truncate(time.Second)}
	for _, o := range opts {
		o(&s)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("verifiertest: make a key: %v", err)
	}
	i := &Issuer{t: t, key: key, clock: s.start}
	i.c = verifier.Config{
		Issuers: []verifier.Issuer{{
			Issuer: IssuerURL, Audience: []string{APIAudience}, Algorithms: []string{"ES256"},
			Keys: []verifier.PublicKey{{ID: keyID, Algorithm: "ES256", Key: &key.PublicKey}},
		}},
		Node: "verifiertest",
	}
	for _, change := range s.change {
		change(&i.c)
	}
	i.feed = newFeed(i.Now, events.Retention{
		MaxTokenLife: max(i.c.MaxTokenLife, time.Hour), Leeway: max(i.c.Leeway, time.Minute), Skew: time.Minute,
	})
	i.c.Feed, i.c.Now = i.feed, i.Now
	if i.c.Redeemer == nil {
		i.c.Redeemer = &redeemer{used: map[[2]string]bool{}}
	}
	if i.v, err = verifier.New(i.c); err != nil {
		t.Fatalf("verifiertest: make the verifier: %v", err)
	}
	i.run()
	return i
}

// run starts the verifier, waits until it is ready, and arranges its end.
func (i *Issuer) run() {
	i.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- i.v.Run(ctx) }()
	i.t.Cleanup(func() {
		cancel()
		<-ended
	})
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patient); ; <-tick.C {
		err := i.v.Ready()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			i.t.Fatalf("verifiertest: the verifier does not become ready: %v", err)
		}
	}
}

// Verifier returns the verifier. It accepts what Mint makes and refuses what Revoke covers.
func (i *Issuer) Verifier() *verifier.Verifier { return i.v }

// Now is the clock of the issuer and the verifier.
func (i *Issuer) Now() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.clock
}

// Advance moves the clock on: tokens expire, statements may be forgotten. The feed stays fresh; see SetStale.
func (i *Issuer) Advance(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.clock = i.clock.Add(d)
}

// SetStale makes the verifier lose touch with the stream, or find it again. Requests are then answered with 503,
// unless the verifier's policy is Allow.
func (i *Issuer) SetStale(stale bool) { i.feed.stale.Store(stale) }

// Mint returns a signed access token (RFC 9068, ES256) that the verifier accepts if no claim spoils it. Without
// claims: subject user-1, session session-1, client client-1, a new jti, five minutes to live, no scope.
func (i *Issuer) Mint(claims ...Claim) string {
	i.t.Helper()
	i.mu.Lock()
	i.count++
	n, now := i.count, i.clock
	i.mu.Unlock()
	d := &draft{
		now:    now,
		header: map[string]any{"typ": "at+jwt", "kid": keyID},
		claims: map[string]any{
			"iss": i.c.Issuers[0].Issuer, "aud": i.c.Issuers[0].Audience, "sub": "user-1", "client_id": "client-1",
			"sid": "session-1", "jti": fmt.Sprintf("token-%d", n), "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		},
	}
	for _, change := range claims {
		change(d)
	}
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims(d.claims))
	for name, value := range d.header {
		token.Header[name] = value
	}
	if _, keep := d.header["typ"]; !keep {
		delete(token.Header, "typ")
	}
	raw, err := token.SignedString(i.key)
	if err != nil {
		i.t.Fatalf("verifiertest: sign the token: %v", err)
	}
	return raw
}

// Revoke publishes a statement and returns when the verifier enforces it. Only Scope and Key are needed; what else is
// missing is filled in as a publisher does. A subject's tokens of the present second are covered too, so a test
// that logs in again must Advance a second or use Gen.
func (i *Issuer) Revoke(r events.Revocation) {
	i.t.Helper()
	now := i.Now()
	if r.Issuer == "" {
		r.Issuer = i.c.Issuers[0].Issuer
	}
	if r.ID == "" {
		r.ID = events.NewID()
	}
	if r.By == "" {
		r.By = "system"
	}
	if r.At.IsZero() {
		r.At = now
	}
	if r.Until.IsZero() {
		r.Until = i.feed.layout.Retention.Until(now)
	}
	if r.Before.IsZero() && (r.Scope == events.Subject || r.Scope == events.Client || r.Scope == events.Issuer) {
		r.Before = now.Truncate(time.Second)
	}
	if err := r.Validate(now); err != nil {
		i.t.Fatalf("verifiertest: revoke: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	if err := i.feed.WaitApplied(ctx, events.Position{Sequence: i.feed.publish(r)}); err != nil {
		i.t.Fatalf("verifiertest: revoke: %v", err)
	}
}

// PublicKey returns the key that verifies the tokens.
func (i *Issuer) PublicKey() *ecdsa.PublicKey { return &i.key.PublicKey }

// KeyID returns the kid of the tokens.
func (i *Issuer) KeyID() string { return keyID }
