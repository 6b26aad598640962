package verifier_test

import (
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/quash-auth/quash/verifier"
)

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
