package verifier_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier"
)

func TestVerifyAcceptsAndTellsWhatItRead(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	now := r.clock.Now()
	got := r.accepts(t, "good token", mint(now, object{"gen": 7, "auth_time": now.Add(-time.Hour).Unix(), "nbf": now.Unix(), "aud": []string{"x", api}, "extra": object{"a": 1}}))
	want := verifier.Token{Issuer: issA, Subject: "u1", ID: "j1", Session: "s1", Client: "c1", KeyID: "a1", Type: "at+jwt", Gen: 7, HasGen: true}
	if got.Issuer != want.Issuer || got.Subject != want.Subject || got.ID != want.ID || got.Session != want.Session ||
		got.Client != want.Client || got.KeyID != want.KeyID || got.Type != want.Type || got.Gen != 7 || !got.HasGen {
		t.Errorf("got %+v", got)
	}
	if !got.IssuedAt.Equal(now) || !got.NotBefore.Equal(now) || !got.Expires.Equal(now.Add(10*time.Minute)) || !got.AuthTime.Equal(now.Add(-time.Hour)) {
		t.Errorf("times: got iat %v nbf %v exp %v auth_time %v", got.IssuedAt, got.NotBefore, got.Expires, got.AuthTime)
	}
	if !got.HasScope("read") || !got.HasScope("write") || got.HasScope("rea") || got.HasScope("read write") || got.HasScope("") {
		t.Errorf("scope: got %q", got.Scope)
	}
	if len(got.Audience) != 2 || got.Audience[1] != api {
		t.Errorf("audience: got %q", got.Audience)
	}
	var own struct {
		Extra struct{ A int }
	}
	if err := got.Decode(&own); err != nil || own.Extra.A != 1 {
		t.Errorf("Decode: got %+v, %v", own, err)
	}
	copied := got.Claims()
	copied[0] = 'X'
	if !json.Valid(got.Claims()) {
		t.Error("Claims must return a copy")
	}
	if left := got.Unenforceable(); len(left) != 0 {
		t.Errorf("unenforceable: got %v, want none", left)
	}
	carried, ok := verifier.FromContext(verifier.NewContext(context.Background(), got))
	if !ok || carried != got {
		t.Error("the context does not carry the token")
	}
	if _, ok := verifier.FromContext(context.Background()); ok {
		t.Error("an empty context carries a token")
	}
}

// TestClaimNamesAreExact: to encoding/json "JTI" is jti, and the last of two members wins.
func TestClaimNamesAreExact(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	now := r.clock.Now()
	good, header := text(goodClaims(issA, now)), text(keyA.header())
	folded := keyA.compact(header, strings.TrimSuffix(good, "}")+`,"JTI":"other","Jti":"other","SUB":"other","sID":"other"}`)
	kelvin := keyA.compact(header, strings.TrimSuffix(good, "}")+`,"\u017fub":"other","\u017fid":"other"}`) // ſ folds to s
	escaped := keyA.compact(header, strings.Replace(good, `"j1"`, `"\u006a1"`, 1))
	plain := keyA.compact(header, good)
	for what, raw := range map[string]string{"folded": folded, "long s": kelvin, "escaped": escaped, "plain": plain} {
		token := r.accepts(t, what, raw)
		if token.ID != "j1" || token.Subject != "u1" || token.Session != "s1" {
			t.Errorf("%s: got jti %q sub %q sid %q", what, token.ID, token.Subject, token.Session)
		}
	}
	r.revoke(t, events.Revocation{Scope: events.Token, Key: "j1"})
	for what, raw := range map[string]string{"folded": folded, "long s": kelvin, "escaped": escaped, "plain": plain} {
		r.refuses(t, what, raw, verifier.ErrRevoked)
	}
	r.refuses(t, "second jti", keyA.compact(header, strings.TrimSuffix(good, "}")+`,"jti":"other"}`), verifier.ErrMalformed)
	r.refuses(t, "only JTI", keyA.compact(header, strings.Replace(good, `"jti"`, `"JTI"`, 1)), verifier.ErrClaims)
}

func TestM10_TwoIssuersNeverMix(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	now := r.clock.Now()
	a := mint(now, nil)
	b := keyB.compact(text(keyB.header()), text(goodClaims(issB, now)))
	r.accepts(t, "A", a)
	r.accepts(t, "B", b)
	r.refuses(t, "A's key for B", keyA.compact(text(keyA.header()), text(goodClaims(issB, now))), verifier.ErrNoKey)
	r.refuses(t, "A's key under B's kid", keyA.compact(text(keyB.header()), text(goodClaims(issB, now))), verifier.ErrSignature)
	for _, s := range []events.Revocation{
		{Scope: events.Token, Key: "j1"}, {Scope: events.Session, Key: "s1"}, {Scope: events.Subject, Key: "u1"},
		{Scope: events.Client, Key: "c1"}, {Scope: events.Key, Key: "a1"}, {Scope: events.Key, Key: "b1"}, {Scope: events.Issuer},
	} {
		fresh := newRig(t, nil)
		fresh.revoke(t, s)
		if s.Key != "b1" {
			fresh.refuses(t, "A after "+s.Scope.String(), a, verifier.ErrRevoked)
		}
		fresh.accepts(t, "B after "+s.Scope.String(), b)
	}
}

func TestScopesOfRevocation(t *testing.T) {
	t.Parallel()
	for _, s := range []events.Revocation{
		{Scope: events.Token, Key: "j1"}, {Scope: events.Session, Key: "s1"}, {Scope: events.Subject, Key: "u1"},
		{Scope: events.Client, Key: "c1"}, {Scope: events.Key, Key: "a1"}, {Scope: events.Issuer},
	} {
		r := newRig(t, nil)
		raw := mint(r.clock.Now(), nil)
		r.accepts(t, s.Scope.String()+" before", raw)
		r.revoke(t, s)
		r.refuses(t, s.Scope.String()+" seen token", raw, verifier.ErrRevoked)
		r.refuses(t, s.Scope.String()+" new text", twin(raw), verifier.ErrRevoked)
		_, err := r.Verify(context.Background(), raw)
		var revoked *verifier.RevokedError
		if !errors.As(err, &revoked) || revoked.Scope != s.Scope || revoked.Sequence != 1 {
			t.Errorf("%s: got %+v, want its scope and sequence 1", s.Scope, revoked)
		}
	}
}

// TestRevokedKeyIsRevokedWhole: who has stolen a key writes the iat he likes.
func TestRevokedKeyIsRevokedWhole(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.revoke(t, events.Revocation{Scope: events.Key, Key: "a1"})
	now := r.clock.Now()
	r.refuses(t, "iat before", mint(now.Add(-time.Minute), nil), verifier.ErrRevoked)
	r.refuses(t, "iat in the second after", mint(now, object{"iat": now.Unix() + 1}), verifier.ErrRevoked)
	r.clock.Advance(10 * time.Minute)
	r.refuses(t, "minted much later", mint(r.clock.Now(), nil), verifier.ErrRevoked)
	// With a cutoff only what was signed up to it: a rotation, not a theft.
	dated := newRig(t, nil)
	now = dated.clock.Now()
	dated.revoke(t, events.Revocation{Scope: events.Key, Key: "a1", Before: now})
	dated.refuses(t, "up to the cutoff", mint(now, nil), verifier.ErrRevoked)
	dated.accepts(t, "after the cutoff", mint(now, object{"iat": now.Unix() + 1}))
}

// TestTokensWithoutSessionLackNone: a program's own token and a one-time token have no sid because there is nothing to end.
func TestTokensWithoutSessionLackNone(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	now := r.clock.Now()
	for name, claims := range map[string]object{
		"sub is the client": {"sid": nil, "sub": "c1"}, "ours": {"sid": nil, "sub": "client:c1"},
	} {
		if got := r.accepts(t, name, mint(now, claims)).Unenforceable(); len(got) != 0 {
			t.Errorf("%s: got %v, want none", name, got)
		}
	}
	if got := (&verifier.Token{ID: "j", Subject: "s", Client: "c1", KeyID: "k", Once: true}).Unenforceable(); len(got) != 0 {
		t.Errorf("one-time: got %v, want none", got)
	}
	if got := r.Status().Issuers[0].Unenforceable; len(got) != 0 {
		t.Errorf("status: got %v, want none", got)
	}
	if got := r.accepts(t, "a user's", mint(now, object{"sid": nil, "sub": "client:c2"})).Unenforceable(); len(got) != 1 || got[0] != events.Session {
		t.Errorf("a user's: got %v, want session", got)
	}
}

func TestRelaxedProfile(t *testing.T) {
	t.Parallel()
	dated := newRig(t, func(c *verifier.Config, _ *memFeed) { c.Issuers[0].Profile = verifier.Relaxed })
	header := keyA.header()
	undated := text(object{"iss": issA, "aud": api, "exp": dated.clock.Now().Add(time.Minute).Unix()})
	dated.refuses(t, "no iat: nobody could bound its life", keyA.compact(text(with(header, object{"typ": nil})), undated), verifier.ErrClaims)
	r := newRig(t, func(c *verifier.Config, _ *memFeed) {
		c.Issuers[0].Profile, c.Issuers[0].AllowUndated = verifier.Relaxed, true
	})
	now := r.clock.Now()
	least := text(object{"iss": issA, "aud": api, "exp": now.Add(time.Minute).Unix()})
	token := r.accepts(t, "the least", keyA.compact(text(with(header, object{"typ": nil})), least))
	if got := token.Unenforceable(); len(got) != 4 || got[0] != events.Token || got[3] != events.Client {
		t.Errorf("unenforceable: got %v, want token session subject client", got)
	}
	is := r.Status().Issuers[0]
	if len(is.Unenforceable) != 4 || !is.Undated || is.Profile != verifier.Relaxed {
		t.Errorf("status: got %+v", is)
	}
	for _, typ := range []string{"JWT", "jwt", "application/jwt", "at+jwt"} {
		r.accepts(t, typ, keyA.compact(text(with(header, object{"typ": typ})), least))
	}
	r.refuses(t, "SET", keyA.compact(text(with(header, object{"typ": "secevent+jwt"})), least), verifier.ErrType)
	r.refuses(t, "ID token", mint(now, object{"nonce": "x"}), verifier.ErrType)
	if got := r.accepts(t, "azp", mint(now, object{"client_id": nil, "azp": "c9"})); got.Client != "c9" {
		t.Errorf("client: got %q, want azp", got.Client)
	}
	if got := r.accepts(t, "both", mint(now, object{"azp": "c9"})); got.Client != "c1" {
		t.Errorf("client: got %q, want client_id", got.Client)
	}
	for _, scp := range []any{"a b", []string{"a", "b"}} {
		if got := r.accepts(t, "scp", mint(now, object{"scope": nil, "scp": scp})); !got.HasScope("b") {
			t.Errorf("scp %v: got scope %q", scp, got.Scope)
		}
	}
	r.refuses(t, "scp of numbers", mint(now, object{"scope": nil, "scp": []int{1}}), verifier.ErrClaims)
	r.revoke(t, events.Revocation{Scope: events.Client, Key: "c9"})
	r.refuses(t, "azp revoked", mint(now, object{"client_id": nil, "azp": "c9"}), verifier.ErrRevoked)
	r.revoke(t, events.Revocation{Scope: events.Issuer})
	r.refuses(t, "no iat: every cutoff covers it", keyA.compact(text(header), least), verifier.ErrRevoked)
}

func TestSymmetricKeyOnlyWhenConfigured(t *testing.T) {
	t.Parallel()
	secret := []byte(strings.Repeat("s", 32))
	hs := signer{"h1", jwt.SigningMethodHS256, secret}
	r := newRig(t, func(c *verifier.Config, _ *memFeed) {
		c.Issuers[0].Algorithms = []string{"HS256", "ES256"}
		c.Issuers[0].Keys = append(c.Issuers[0].Keys, verifier.PublicKey{ID: "h1", Key: secret})
	})
	now := r.clock.Now()
	good := text(goodClaims(issA, now))
	r.accepts(t, "HS256", hs.compact(text(hs.header()), good))
	r.accepts(t, "ES256 beside it", mint(now, nil))
	confused := signer{"a1", jwt.SigningMethodHS256, pemOf(keyA.public())}
	r.refuses(t, "HS256 under the EC key's kid", confused.compact(text(confused.header()), good), verifier.ErrAlgorithm)
	r.refuses(t, "HS256 for the other issuer", hs.compact(text(hs.header()), text(goodClaims(issB, now))), verifier.ErrAlgorithm)
}

func TestAlgorithms(t *testing.T) {
	t.Parallel()
	rsaPrivate, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	now := start
	for _, s := range allSigners(t, rsaPrivate) {
		alg := s.method.Alg()
		r := newRig(t, func(c *verifier.Config, _ *memFeed) {
			c.Issuers[0].Algorithms = []string{alg}
			c.Issuers[0].Keys = []verifier.PublicKey{{ID: "k", Key: s.public()}}
		})
		good := s.compact(text(s.header()), text(goodClaims(issA, now)))
		r.accepts(t, alg, good)
		broken := []byte(good)
		broken[len(broken)-8] ^= 1
		if _, err := r.Verify(context.Background(), string(broken)); !errors.Is(err, verifier.ErrInvalid) {
			t.Errorf("%s: a changed signature: got %v", alg, err)
		}
	}
}
