package verifier_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/verifier"
)

// askedOnce is a Redeemer that says what it is told to, and counts.
type askedOnce struct {
	calls  atomic.Int32
	answer func() error
}

func (a *askedOnce) Redeem(_ context.Context, iss, jti string, iat, exp time.Time) error {
	a.calls.Add(1)
	if iss == "" || jti == "" || iat.IsZero() || exp.IsZero() {
		return errors.New("called without the token's claims")
	}
	return a.answer()
}

func onceRig(t *testing.T, change func(*verifier.Config, *memFeed)) (*rig, *askedOnce) {
	t.Helper()
	a := &askedOnce{answer: func() error { return nil }}
	return newRig(t, func(c *verifier.Config, f *memFeed) {
		c.Redeemer = a
		if change != nil {
			change(c, f)
		}
	}), a
}

func (r *rig) redeems(t *testing.T, what, raw string, want error) {
	t.Helper()
	token, err := r.Redeem(t.Context(), raw)
	if !errors.Is(err, want) || (err == nil) != (token != nil) {
		t.Errorf("%s: got %v, %v, want %v", what, token, err, want)
	}
}

// Every way that accepts ordinary tokens refuses a one-time token, however often it is shown, and the reverse.
func TestOnceIsNoOrdinaryToken(t *testing.T) {
	t.Parallel()
	r, a := onceRig(t, nil)
	once, plain := mint(r.clock.Now(), object{"once": true}), mint(r.clock.Now(), object{"jti": "plain", "once": false})
	for range 3 {
		r.refuses(t, "Verify", once, verifier.ErrOnce)
		if _, err := r.VerifyWithin(t.Context(), once, verifier.FreshnessRule{}); !errors.Is(err, verifier.ErrOnce) {
			t.Errorf("VerifyWithin: got %v, want ErrOnce", err)
		}
		r.redeems(t, "Redeem of an ordinary token", plain, verifier.ErrOnce)
		r.accepts(t, "an ordinary token", plain)
		if status := serveOnce(r.Verifier, verifier.HTTPConfig{}, once).Code; status != http.StatusUnauthorized {
			t.Errorf("middleware: got %d, want 401", status)
		}
		if status := serveOnce(r.Verifier, verifier.HTTPConfig{OneTime: true}, plain).Code; status != http.StatusUnauthorized {
			t.Errorf("one-time middleware with an ordinary token: got %d, want 401", status)
		}
	}
	// Neither typ goes with the other kind of claims.
	for _, mixed := range []string{
		keyA.compact(text(keyA.header()), text(with(goodClaims(issA, r.clock.Now()), object{"once": true}))),
		keyA.compact(text(with(keyA.header(), object{"typ": "once+jwt"})), text(goodClaims(issA, r.clock.Now()))),
		keyA.compact(text(with(keyA.header(), object{"typ": nil})), text(with(goodClaims(issA, r.clock.Now()), object{"once": true}))),
	} {
		r.refuses(t, "mixed kinds", mixed, verifier.ErrType)
		r.redeems(t, "mixed kinds", mixed, verifier.ErrType)
	}
	if err := r.Revoked(verifier.Claims{Issuer: issA, ID: "x", Once: true}); !errors.Is(err, verifier.ErrOnce) {
		t.Errorf("Revoked: got %v, want ErrOnce", err)
	}
	for _, wrong := range []any{"true", 1, nil, []bool{true}} {
		raw := mint(r.clock.Now(), object{"once": wrong})
		if wrong == nil {
			raw = keyA.compact(text(keyA.header()), `{"once":null,`+text(goodClaims(issA, r.clock.Now()))[1:])
		}
		r.refuses(t, "once of another type", raw, verifier.ErrClaims)
		r.redeems(t, "once of another type", raw, verifier.ErrClaims)
	}
	if n := a.calls.Load(); n != 0 {
		t.Errorf("the redeemer was asked %d times, want never", n)
	}
	if s := r.Stats(); s.Once == 0 || s.MemoHits == 0 && s.MemoMisses == 0 {
		t.Errorf("stats %+v lack the refusals", s)
	}
}

// serveOnce sends one request through a middleware whose handler answers 204.
func serveOnce(v *verifier.Verifier, c verifier.HTTPConfig, raw string) *httptest.ResponseRecorder {
	h := v.Middleware(c)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	req := httptest.NewRequest(http.MethodPost, "/", nil)
	req.Header.Set("Authorization", "Bearer "+raw)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

// What is refused for another reason is not used up.
func TestRedeemAsksLast(t *testing.T) {
	t.Parallel()
	r, a := onceRig(t, func(c *verifier.Config, _ *memFeed) { c.Issuers[0].Profile = verifier.Relaxed })
	now := r.clock.Now()
	good := object{"once": true, "sub": "alice", "scope": "reset"}
	r.revoke(t, events.Revocation{Scope: events.Subject, Key: "mallory"})
	for _, tt := range []struct {
		name string
		raw  string
		want error
	}{
		{"expired", mint(now, with(good, object{"exp": now.Add(-time.Hour).Unix(), "iat": now.Add(-70 * time.Minute).Unix()})), verifier.ErrExpired},
		{"not yet", mint(now, with(good, object{"nbf": now.Add(time.Hour).Unix()})), verifier.ErrNotYet},
		{"too long", mint(now, with(good, object{"exp": now.Add(3 * time.Hour).Unix()})), verifier.ErrLifetime},
		{"audience", mint(now, with(good, object{"aud": "other"})), verifier.ErrAudience},
		{"revoked", mint(now, with(good, object{"sub": "mallory"})), verifier.ErrRevoked},
		{"no jti", mint(now, object{"once": true, "jti": nil}), verifier.ErrClaims},
		{"signature", mint(now, good)[:20] + "x" + mint(now, good)[21:], verifier.ErrInvalid},
	} {
		r.redeems(t, tt.name, tt.raw, tt.want)
	}
	if w := serveOnce(r.Verifier, verifier.HTTPConfig{OneTime: true, Scope: []string{"other"}}, mint(now, good)); w.Code != http.StatusForbidden {
		t.Errorf("too little scope: got %d, want 403", w.Code)
	}
	r.feed.silence()
	r.clock.Advance(time.Minute)
	r.redeems(t, "stale", mint(r.clock.Now(), good), verifier.ErrStale)
	r.feed.heal()
	if n := a.calls.Load(); n != 0 {
		t.Errorf("the redeemer was asked %d times, want never", n)
	}
	if w := serveOnce(r.Verifier, verifier.HTTPConfig{OneTime: true, Scope: []string{"reset"}}, mint(r.clock.Now(), good)); w.Code != http.StatusNoContent || a.calls.Load() != 1 {
		t.Errorf("a good one: got %d after %d questions, want 204 after 1", w.Code, a.calls.Load())
	}
}

func TestRedeemAnswers(t *testing.T) {
	t.Parallel()
	r, a := onceRig(t, nil)
	raw := mint(r.clock.Now(), object{"once": true})
	for _, tt := range []struct {
		name      string
		answer    error
		want      error
		status    int
		challenge string
	}{
		{"won", nil, nil, 204, ""},
		{"used", wrapped(events.ErrRedeemed), verifier.ErrUsed, 401, `Bearer realm="api", error="invalid_token", error_description="The access token was already used"`},
		{"unavailable", wrapped(events.ErrUnavailable), verifier.ErrStale, 503, ""},
		{"full", wrapped(events.ErrFull), verifier.ErrStale, 503, ""},
		{"layout", wrapped(events.ErrLayout), verifier.ErrStale, 503, ""},
		{"invalid", wrapped(events.ErrInvalid), verifier.ErrStale, 503, ""},
		{"cancelled", context.Canceled, verifier.ErrStale, 503, ""},
	} {
		a.answer = func() error { return tt.answer }
		r.redeems(t, tt.name, raw, tt.want)
		w := serveOnce(r.Verifier, verifier.HTTPConfig{OneTime: true}, raw)
		if tt.status == 204 {
			if w.Code != 204 {
				t.Errorf("%s: got %d, want 204", tt.name, w.Code)
			}
			continue
		}
		checkAnswer(t, w, tt.status, tt.challenge)
	}
	a.answer = func() error { // a statement comes while the stream decides
		r.revoke(t, events.Revocation{Scope: events.Subject, Key: "alice"})
		return nil
	}
	r.redeems(t, "revoked meanwhile", mint(r.clock.Now(), object{"once": true, "sub": "alice"}), verifier.ErrRevoked)
}

func TestOneTimeConfig(t *testing.T) {
	t.Parallel()
	if err := (verifier.HTTPConfig{OneTime: true, Cookie: "c"}).Validate(); !errors.Is(err, verifier.ErrConfig) {
		t.Errorf("OneTime with Cookie: got %v, want ErrConfig", err)
	}
	r := newRig(t, nil) // a Feed, and no Redeemer
	raw := mint(r.clock.Now(), object{"once": true})
	r.redeems(t, "without a redeemer", raw, verifier.ErrConfig)
	if w := serveOnce(r.Verifier, verifier.HTTPConfig{OneTime: true}, raw); w.Code != http.StatusInternalServerError {
		t.Errorf("middleware without a redeemer: got %d, want 500", w.Code)
	}
}

// 64 requests at eight nodes at once: one gets through.
func TestOnceOverNATS(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	nc := s.Connect(t)
	js := ensure(t, nc, events.Layout{})
	var nodes []*verifier.Verifier
	for range 8 {
		v, _ := node(t, s.URL(), func(c *verifier.Config) {
			r, err := events.NewRedeemer(events.RedeemerConfig{Conn: c.NATS, Timeout: patience}) // however busy the machine is
			if err != nil {
				t.Fatal(err)
			}
			c.Redeemer = r
		})
		nodes = append(nodes, v)
	}
	for _, v := range nodes {
		eventually(t, "the node is ready", func() bool { return v.Ready() == nil })
	}
	raw := mint(time.Now(), object{"once": true})
	if w := serveOnce(nodes[0], verifier.HTTPConfig{OneTime: true}, raw); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("without the stream: got %d, want 503 with Retry-After", w.Code)
	}
	once(t, js)
	raw = mint(time.Now(), object{"once": true}) // one that is older than the stream may have been used
	var won, lost atomic.Int32
	var all sync.WaitGroup
	for n := range 64 {
		all.Go(func() {
			switch w := serveOnce(nodes[n%8], verifier.HTTPConfig{OneTime: true}, raw); w.Code {
			case http.StatusNoContent:
				won.Add(1)
			case http.StatusUnauthorized:
				lost.Add(1)
			default:
				t.Errorf("got %d %s", w.Code, w.Body)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 || lost.Load() != 63 {
		t.Errorf("%d of 64 got through and %d were refused, want 1 and 63", won.Load(), lost.Load())
	}
	var redeemed, used uint64
	for _, v := range nodes {
		redeemed, used = redeemed+v.Stats().Redeemed, used+v.Stats().Used
	}
	if redeemed != 1 || used != 63 {
		t.Errorf("the nodes count %d redeemed and %d used before, want 1 and 63", redeemed, used)
	}
}

// The clocks of two nodes differ as much as they may: the token stays used for as long as one of them accepts it.
func TestOnceClockSkew(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	js := ensure(t, s.Connect(t), events.Layout{})
	stream := once(t, js)
	const off = 30 * time.Second
	ahead, _ := node(t, s.URL(), func(c *verifier.Config) {
		c.Now = func() time.Time { return time.Now().Add(off) }
		c.MaxStaleness = time.Hour
	})
	behind, _ := node(t, s.URL(), func(c *verifier.Config) {
		c.Now = func() time.Time { return time.Now().Add(-off) }
		c.MaxStaleness = time.Hour
	})
	for _, v := range []*verifier.Verifier{ahead, behind} {
		eventually(t, "the node is ready", func() bool { return v.Ready() == nil })
	}
	exp := time.Now().Add(5 * time.Minute).Truncate(time.Second)
	raw := mint(time.Now(), object{"once": true, "exp": exp.Unix()})
	redeem := func(v *verifier.Verifier) (err error) { // again, if the node was too busy to find out
		eventually(t, "the node knows", func() bool {
			_, err = v.Redeem(t.Context(), raw)
			return !errors.Is(err, verifier.ErrStale)
		})
		return err
	}
	if err := redeem(ahead); err != nil {
		t.Fatal(err)
	}
	if err := redeem(behind); !errors.Is(err, verifier.ErrUsed) {
		t.Errorf("the other node: got %v, want ErrUsed", err)
	}
	m, err := stream.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	ttl, err := time.ParseDuration(m.Header.Get("Nats-TTL") + "s")
	if err != nil {
		t.Fatal(err)
	}
	// behind accepts it, by the true time, until exp + leeway (30 s) + off.
	if forgotten, dead := m.Time.Add(ttl), exp.Add(30*time.Second+off); forgotten.Before(dead) {
		t.Errorf("forgotten at %v, the last node accepts it until %v", forgotten, dead)
	}
}

func once(t *testing.T, js jetstream.JetStream) jetstream.Stream {
	t.Helper()
	s, err := events.EnsureOnce(t.Context(), js, events.Layout{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
