package verifier_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"crypto/rand"
	"crypto/rsa"

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

// pemOf is the public key as text: the classic HS256 secret of an algorithm confusion.
func pemOf(public any) []byte {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// TestM8_OneMutationPerRule takes a good token and breaks one rule at a time.
func TestM8_OneMutationPerRule(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	now := r.clock.Now()
	claims, header := goodClaims(issA, now), keyA.header()
	good := text(claims)
	signed := func(h object, c any) string {
		if s, ok := c.(string); ok {
			return keyA.compact(text(h), s)
		}
		return keyA.compact(text(h), text(c))
	}
	h := func(change object) string { return signed(with(header, change), good) }
	c := func(change object) string { return signed(header, with(claims, change)) }
	secret := signer{"a1", jwt.SigningMethodHS256, pemOf(keyA.public())}
	impostor := newES256("a1")
	parts := strings.Split(signed(header, good), ".")
	none := func(alg string) string { return b64(text(with(header, object{"alg": alg}))) + "." + parts[1] + "." }
	future, past := func(d time.Duration) int64 { return now.Add(d).Unix() }, func(d time.Duration) int64 { return now.Add(-d).Unix() }

	for _, test := range []struct {
		rule string
		raw  string
		want error
	}{
		{"typ ID token", h(object{"typ": "JWT"}), verifier.ErrType},
		{"typ absent", h(object{"typ": nil}), verifier.ErrType},
		{"typ SET", h(object{"typ": "secevent+jwt"}), verifier.ErrType},
		{"typ logout token", h(object{"typ": "logout+jwt"}), verifier.ErrType},
		{"typ DPoP proof", h(object{"typ": "dpop+jwt"}), verifier.ErrType},
		{"typ empty", h(object{"typ": ""}), verifier.ErrType},
		{"typ of two", h(object{"typ": "application/application/at+jwt"}), verifier.ErrType},
		{"typ number", h(object{"typ": 1}), verifier.ErrMalformed},
		{"claim nonce", c(object{"nonce": "n"}), verifier.ErrType},
		{"claim events", c(object{"events": object{}}), verifier.ErrType},
		{"claim at_hash", c(object{"at_hash": "x"}), verifier.ErrType},
		{"token_use id", c(object{"token_use": "id"}), verifier.ErrType},
		{"typ claim Refresh", c(object{"typ": "Refresh"}), verifier.ErrType},
		{"bound to a key", c(object{"cnf": object{"jkt": "x"}}), verifier.ErrClaims},

		{"alg none", none("none"), verifier.ErrAlgorithm},
		{"alg None", none("None"), verifier.ErrAlgorithm},
		{"alg NONE", none("NONE"), verifier.ErrAlgorithm},
		{"alg none with a signature", none("none") + parts[2], verifier.ErrAlgorithm},
		{"alg HS256 keyed with the public key", secret.compact(text(with(header, object{"alg": "HS256"})), good), verifier.ErrAlgorithm},
		{"alg in another case", h(object{"alg": "es256"}), verifier.ErrAlgorithm},
		{"alg not allowed", h(object{"alg": "ES384"}), verifier.ErrAlgorithm},
		{"alg of another key type", h(object{"alg": "RS256"}), verifier.ErrAlgorithm},
		{"alg absent", h(object{"alg": nil}), verifier.ErrMalformed},
		{"alg number", h(object{"alg": 256}), verifier.ErrMalformed},
		{"no signature", parts[0] + "." + parts[1] + ".", verifier.ErrSignature},
		{"wrong key, same kid", impostor.compact(text(header), good), verifier.ErrSignature},
		{"kid of the other issuer", h(object{"kid": "b1"}), verifier.ErrNoKey},
		{"kid of the other issuer, signed by it", keyB.compact(text(keyB.header()), good), verifier.ErrNoKey},
		{"kid unknown", h(object{"kid": "zzz"}), verifier.ErrNoKey},
		{"kid too long", h(object{"kid": strings.Repeat("k", 513)}), verifier.ErrMalformed},
		{"payload changed", parts[0] + "." + b64(text(with(claims, object{"sub": "root"}))) + "." + parts[2], verifier.ErrSignature},

		{"iss with a slash", c(object{"iss": issA + "/"}), verifier.ErrIssuer},
		{"iss in another case", c(object{"iss": strings.ToUpper(issA)}), verifier.ErrIssuer},
		{"iss unknown", c(object{"iss": "https://c.example"}), verifier.ErrIssuer},
		{"iss number", c(object{"iss": 1}), verifier.ErrClaims},
		{"aud other", c(object{"aud": "https://other.example"}), verifier.ErrAudience},
		{"aud is a prefix", c(object{"aud": api + "/v2"}), verifier.ErrAudience},
		{"aud array of others", c(object{"aud": []string{"x", "y"}}), verifier.ErrAudience},
		{"aud empty array", c(object{"aud": []string{}}), verifier.ErrAudience},
		{"aud array with a number", c(object{"aud": []any{api, 1}}), verifier.ErrClaims},
		{"aud object", c(object{"aud": object{"a": api}}), verifier.ErrClaims},

		{"exp over", c(object{"iat": past(time.Hour), "exp": past(31 * time.Second)}), verifier.ErrExpired},
		{"exp over by the last second of leeway", c(object{"exp": past(30 * time.Second), "iat": past(time.Minute)}), verifier.ErrExpired},
		{"exp string", c(object{"exp": "4102444800"}), verifier.ErrClaims},
		{"exp huge", signed(header, strings.Replace(good, `"exp":`, `"exp":1e300,"x":`, 1)), verifier.ErrClaims},
		{"exp in milliseconds", c(object{"exp": future(0) * 1000}), verifier.ErrClaims},
		{"exp too far, iat now", c(object{"exp": future(time.Hour + time.Second)}), verifier.ErrLifetime},
		{"lives too long although nearly over", c(object{"iat": past(50 * time.Minute), "exp": future(11 * time.Minute)}), verifier.ErrLifetime},
		{"nbf in the future", c(object{"nbf": future(31 * time.Second)}), verifier.ErrNotYet},
		{"nbf string", c(object{"nbf": "0"}), verifier.ErrClaims},
		{"iat in the future", c(object{"iat": future(31 * time.Second)}), verifier.ErrNotYet},
		{"iat bool", c(object{"iat": true}), verifier.ErrClaims},

		{"no iss", c(object{"iss": nil}), verifier.ErrClaims},
		{"no exp", c(object{"exp": nil}), verifier.ErrClaims},
		{"no aud", c(object{"aud": nil}), verifier.ErrClaims},
		{"no sub", c(object{"sub": nil}), verifier.ErrClaims},
		{"no client_id", c(object{"client_id": nil}), verifier.ErrClaims},
		{"azp does not replace client_id", c(object{"client_id": nil, "azp": "c1"}), verifier.ErrClaims},
		{"no iat", c(object{"iat": nil}), verifier.ErrClaims},
		{"no jti", c(object{"jti": nil}), verifier.ErrClaims},
		{"jti empty", c(object{"jti": ""}), verifier.ErrClaims},
		{"jti too long for a statement", c(object{"jti": strings.Repeat("j", 513)}), verifier.ErrClaims},
		{"gen negative", c(object{"gen": -1}), verifier.ErrClaims},
		{"gen fraction", c(object{"gen": 1.5}), verifier.ErrClaims},
		{"gen string", c(object{"gen": "1"}), verifier.ErrClaims},
		{"scope array", c(object{"scope": []string{"read"}}), verifier.ErrClaims},

		{"crit", h(object{"crit": []string{"exp"}, "exp": 1}), verifier.ErrMalformed},
		{"crit empty", h(object{"crit": []string{}}), verifier.ErrMalformed},
		{"b64", h(object{"b64": false}), verifier.ErrMalformed},
		{"zip", h(object{"zip": "DEF"}), verifier.ErrMalformed},
		{"enc", h(object{"enc": "A256GCM"}), verifier.ErrMalformed},
		{"five segments (JWE)", parts[0] + ".a.b.c.d", verifier.ErrMalformed},
		{"two segments", parts[0] + "." + parts[1], verifier.ErrMalformed},
		{"four segments", signed(header, good) + ".", verifier.ErrMalformed},
		{"empty", "", verifier.ErrMalformed},
		{"dots", "..", verifier.ErrMalformed},
		{"no header", "." + parts[1] + "." + parts[2], verifier.ErrMalformed},
		{"no payload", parts[0] + ".." + parts[2], verifier.ErrMalformed},
		{"JSON serialization", text(object{"protected": parts[0], "payload": parts[1], "signature": parts[2]}), verifier.ErrMalformed},
		{"with the scheme", "Bearer " + signed(header, good), verifier.ErrMalformed},
		{"too long", signed(header, with(claims, object{"x": strings.Repeat("x", 16<<10)})), verifier.ErrMalformed},
		{"header is an array", keyA.compact(`[]`, good), verifier.ErrMalformed},
		{"payload is a string", signed(header, `"x"`), verifier.ErrMalformed},
		{"payload with a tail", signed(header, good+"{}"), verifier.ErrMalformed},
		{"payload is not UTF-8", signed(header, strings.Replace(good, "u1", "\xff", 1)), verifier.ErrMalformed},
		{"duplicate member", signed(header, strings.Replace(good, `{`, `{"jti":"j0",`, 1)), verifier.ErrMalformed},
		{"duplicate member, escaped", signed(header, strings.Replace(good, `{`, `{"\u006ati":"j0",`, 1)), verifier.ErrMalformed},
		{"duplicate member, deep", signed(header, strings.Replace(good, `{`, `{"x":{"a":[{"b":1,"b":2}]},`, 1)), verifier.ErrMalformed},
		{"duplicate header member", keyA.compact(`{"alg":"none",`+text(header)[1:], good), verifier.ErrMalformed},
	} {
		r.refuses(t, test.rule, test.raw, test.want)
	}
	r.accepts(t, "the token they were made from", signed(header, good))
}

func TestM8_WhatMustStayAccepted(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	now := r.clock.Now()
	good, header := text(goodClaims(issA, now)), keyA.header()
	hostile := object{"jku": "https://evil.example", "jwk": object{"kty": "oct", "k": "AAAA"}, "x5u": "https://evil.example", "x5c": []string{"AAAA"}}
	for what, raw := range map[string]string{
		"typ with prefix":           keyA.compact(text(with(header, object{"typ": "application/at+jwt"})), good),
		"typ in capitals":           keyA.compact(text(with(header, object{"typ": "Application/AT+JWT"})), good),
		"key hints are ignored":     keyA.compact(text(with(header, hostile)), good),
		"no kid, and only one key":  keyA.compact(text(with(header, object{"kid": nil})), good),
		"exp inside the leeway":     mint(now, object{"iat": now.Add(-time.Minute).Unix(), "exp": now.Add(-29 * time.Second).Unix()}),
		"nbf inside the leeway":     mint(now, object{"nbf": now.Add(29 * time.Second).Unix()}),
		"iat inside the leeway":     mint(now, object{"iat": now.Add(29 * time.Second).Unix()}),
		"exactly the longest life":  mint(now, object{"exp": now.Add(time.Hour).Unix()}),
		"fractional times":          mint(now, object{"exp": float64(now.Unix()) + 60.75, "iat": float64(now.Unix()) - 0.25}),
		"no sid":                    mint(now, object{"sid": nil}),
		"claims of other people":    mint(now, object{"JTI": 1, "Exp": "x", "roles": []int{1}, "typ": "Bearer", "token_use": "access"}),
		"space in the JSON":         keyA.compact(" "+text(header)+"\n", "\t"+good+" "),
		"a name written in escapes": keyA.compact(text(header), strings.Replace(good, `"jti"`, `"\u006ati"`, 1)),
	} {
		r.accepts(t, what, raw)
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

func TestPeerBug18_SameJTIAtTwoIssuers(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	now := r.clock.Now()
	b := keyB.compact(text(keyB.header()), text(goodClaims(issB, now)))
	r.revoke(t, events.Revocation{Issuer: issA, Scope: events.Token, Key: "j1"})
	r.accepts(t, "same jti, other issuer", b)
	r.revoke(t, events.Revocation{Issuer: issB, Scope: events.Token, Key: "j1"})
	r.refuses(t, "its own issuer", b, verifier.ErrRevoked)
}

func TestPeerBug12_NumericOrMissingClaims(t *testing.T) {
	t.Parallel()
	for _, profile := range []verifier.Profile{verifier.Strict, verifier.Relaxed} {
		r := newRig(t, func(c *verifier.Config, _ *memFeed) { c.Issuers[0].Profile = profile })
		now := r.clock.Now()
		for _, name := range []string{"jti", "sub", "sid", "client_id", "azp"} {
			for _, value := range []any{1, 1.5, true, []string{"j1"}, object{"a": "b"}, json.RawMessage("null")} {
				r.refuses(t, profile.String()+" "+name+" "+text(value), mint(now, object{name: value}), verifier.ErrClaims)
			}
		}
		r.refuses(t, "iat as text", mint(now, object{"iat": "now"}), verifier.ErrClaims)
		r.refuses(t, "iat null", mint(now, object{"iat": json.RawMessage("null")}), verifier.ErrClaims)
	}
}

// twin returns the other valid ECDSA signature of the same text.
func twin(raw string) string {
	at := strings.LastIndexByte(raw, '.') + 1
	return raw[:at] + mirrored(unb64(raw[at:]))
}

func TestPeerBug13_Base64TwinAndES256Twin(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	raw := mint(r.clock.Now(), nil)
	other := twin(raw)
	if other == raw {
		t.Fatal("the twin is the same text")
	}
	r.accepts(t, "original", raw)
	r.accepts(t, "ES256 twin, before", other)
	dot := strings.IndexByte(raw, '.')
	spellings := map[string]string{
		"padding":          raw + "==",
		"line feed":        raw[:dot+5] + "\n" + raw[dot+5:],
		"carriage return":  raw[:dot+5] + "\r\n" + raw[dot+5:],
		"line feed at end": raw + "\n",
		"space":            raw + " ",
		"standard base64":  strings.NewReplacer("-", "+", "_", "/").Replace(raw) + "+",
		"trailing bits":    trailingBits(raw),
	}
	for what, spelling := range spellings {
		r.refuses(t, what, spelling, verifier.ErrMalformed)
	}
	r.revoke(t, events.Revocation{Scope: events.Token, Key: "j1"})
	r.refuses(t, "original", raw, verifier.ErrRevoked)
	r.refuses(t, "ES256 twin", other, verifier.ErrRevoked)
	r.refuses(t, "another new twin text", twin(twin(raw)), verifier.ErrRevoked)
	for what, spelling := range spellings {
		r.refuses(t, what+" after", spelling, verifier.ErrMalformed)
	}
}

// trailingBits sets bits of the last character that stand for no byte: 64 bytes leave four of them.
func trailingBits(raw string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, raw[len(raw)-1])
	return raw[:len(raw)-1] + string(alphabet[last|1])
}

func TestPeerBug10_LeewayWindow(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	now := r.clock.Now()
	exp := now.Add(time.Minute)
	raw, other := mint(now, object{"exp": exp.Unix()}), mint(now, object{"jti": "j2", "exp": exp.Unix()})
	r.revoke(t, events.Revocation{Scope: events.Token, Key: "j1", Until: events.Retention{}.UntilExpiry(exp)})
	for r.clock.Now().Before(exp.Add(29 * time.Second)) {
		r.refuses(t, "revoked", raw, verifier.ErrRevoked)
		r.accepts(t, "not revoked", other)
		r.clock.Advance(5 * time.Second)
	}
	r.clock.Advance(10 * time.Second)
	r.refuses(t, "after the leeway", raw, verifier.ErrExpired)
	r.refuses(t, "after the leeway", other, verifier.ErrExpired)
}

func TestPeerBug11_SameSecondBothWays(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	now := r.clock.Now()
	oldGen, newGen := mint(now, object{"gen": 4}), mint(now, object{"gen": 5, "jti": "j2"})
	noGen, next := mint(now, nil), mint(now, object{"iat": now.Unix() + 1})
	r.clock.Advance(300 * time.Millisecond)
	r.revoke(t, events.Revocation{Scope: events.Subject, Key: "u1", Gen: 5})
	r.refuses(t, "older generation of the same second", oldGen, verifier.ErrRevoked)
	r.accepts(t, "login after it, in the same second", newGen)
	r.refuses(t, "no generation, the ambiguous second", noGen, verifier.ErrRevoked)
	r.accepts(t, "no generation, the next second", next)
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

func TestRelaxedProfile(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *verifier.Config, _ *memFeed) { c.Issuers[0].Profile = verifier.Relaxed })
	now := r.clock.Now()
	least := text(object{"iss": issA, "aud": api, "exp": now.Add(time.Minute).Unix()})
	header := keyA.header()
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
