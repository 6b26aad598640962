package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// TestM8_OneMutationPerRule shows a real API node tokens signed by the real key of
// its issuer, each with one thing wrong: RFC 9068 section 4, RFC 8725.
func TestM8_OneMutationPerRule(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	real := w.login("ann").Access
	f := w.forge(real)
	type object = map[string]any
	good := f.text(f.claims)
	parts := strings.Split(real, ".")
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(f.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	jwks := w.json("GET", "/.well-known/jwks.json", "", "").raw
	hs256 := func(secret []byte) string {
		return f.sign(jwt.SigningMethodHS256, secret, with(f.header, object{"alg": "HS256"}), good)
	}
	none := func(alg string) string {
		return unpadded(f.text(with(f.header, object{"alg": alg}))) + "." + parts[1] + "."
	}
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	duplicate := strings.Replace(good, "{", `{"jti":"another",`, 1)

	refused := map[string]string{
		"typ of an ID token":       f.head(object{"typ": "JWT"}),
		"typ absent":               f.head(object{"typ": nil}),
		"typ of a SET":             f.head(object{"typ": "secevent+jwt"}),
		"typ of a logout token":    f.head(object{"typ": "logout+jwt"}),
		"nonce of an ID token":     f.token(object{"nonce": "n"}),
		"events of a SET":          f.token(object{"events": object{}}),
		"bound to a key":           f.token(object{"cnf": object{"jkt": "x"}}),
		"alg none":                 none("none"),
		"alg None":                 none("None"),
		"alg NONE, signed":         none("NONE") + parts[2],
		"HS256, public key as PEM": hs256(public),
		"HS256, public key as DER": hs256(der),
		"HS256, the key set":       hs256([]byte(jwks)),
		"alg of another key":       f.head(object{"alg": "RS256"}),
		"wrong key, same kid":      f.sign(jwt.SigningMethodES256, other, f.header, good),
		"kid of another issuer":    f.sign(jwt.SigningMethodES256, other, with(f.header, object{"kid": "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"}), good),
		"kid unknown, right key":   f.head(object{"kid": "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"}),
		"payload changed":          parts[0] + "." + unpadded(f.text(with(f.claims, object{"sub": "root"}))) + "." + parts[2],
		"iss with a slash":         f.token(object{"iss": w.url + "/"}),
		"iss unknown":              f.token(object{"iss": "https://other.example"}),
		"aud other":                f.token(object{"aud": "other"}),
		"aud array of others":      f.token(object{"aud": []string{"other", "third"}}),
		"aud longer":               f.token(object{"aud": "api2"}),
		"exp over":                 f.token(object{"iat": in(-10 * time.Minute), "exp": in(-time.Minute)}),
		"exp too far":              f.token(object{"exp": in(2 * time.Hour)}),
		"nbf in the future":        f.token(object{"nbf": in(time.Minute)}),
		"iat in the future":        f.token(object{"iat": in(time.Minute), "exp": in(5 * time.Minute)}),
		"crit":                     f.head(object{"crit": []string{"exp"}, "exp": 1}),
		"duplicate member":         f.sign(jwt.SigningMethodES256, f.key, f.header, duplicate),
		"duplicate header member":  f.sign(jwt.SigningMethodES256, f.key, `{"alg":"none",`+f.text(f.header)[1:], good),
		"JSON serialization":       unpadded(f.text(object{"protected": parts[0], "payload": parts[1], "signature": parts[2]})),
		"four segments":            real + ".",
	}
	for _, name := range []string{"iss", "exp", "aud", "sub", "client_id", "iat", "jti"} {
		refused["no "+name] = f.token(object{name: nil})
	}
	for rule, raw := range refused {
		if r := w.call(0, raw); r.status != 401 || !strings.HasPrefix(r.header.Get("WWW-Authenticate"), `Bearer realm="api", error="invalid_token"`) {
			t.Errorf("%s: got %s, want 401 invalid_token", rule, r)
		}
	}
	for what, raw := range map[string]string{
		"nothing changed":     f.token(nil),
		"the real one":        real,
		"typ with its prefix": f.head(object{"typ": "application/at+jwt"}),
		"aud an array":        f.token(object{"aud": []string{"other", "api"}}),
		"no sid":              f.token(object{"sid": nil}),
	} {
		if r := w.call(0, raw); r.status != 200 {
			t.Errorf("%s: got %s, want 200", what, r)
		}
	}
	// As it stands it is not even the syntax of a bearer token (RFC 6750 section 2.1).
	if r := w.call(0, f.text(object{"payload": parts[1], "signature": parts[2]})); r.status != 400 {
		t.Errorf("JSON in the header: got %s, want 400", r)
	}
}
