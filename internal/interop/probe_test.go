package interop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// probes are what every stranger has to judge: one good token and what only looks
// like one. They are made from the good one, so that nothing else differs.
type probes struct {
	good   string
	bad    map[string]string
	claims jwt.MapClaims // of the good one
	kid    string
}

func newProbes(t testing.TB, alg, good string) probes {
	t.Helper()
	parsed, parts, err := jwt.NewParser().ParseUnverified(good, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	p := probes{good: good, claims: parsed.Claims.(jwt.MapClaims), kid: parsed.Header["kid"].(string)}

	other := maps.Clone(p.claims)
	other["sub"] = "somebody-else"
	payload, err := json.Marshal(other)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	signature[len(signature)/2] ^= 1
	forged := func(change func(*jwt.Token, jwt.MapClaims), key crypto.PrivateKey) string {
		claims := maps.Clone(p.claims)
		f := jwt.NewWithClaims(jwt.GetSigningMethod(alg), claims)
		f.Header["typ"], f.Header["kid"] = "at+jwt", p.kid
		if change != nil {
			change(f, claims)
		}
		raw, err := f.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	p.bad = map[string]string{
		"another subject under the same signature": parts[0] + "." + base64.RawURLEncoding.EncodeToString(payload) + "." + parts[2],
		"one bit of the signature turned":          parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(signature),
		"another key under our kid":                forged(nil, newKey(t, alg)),
		"alg none": forged(func(f *jwt.Token, _ jwt.MapClaims) {
			f.Method, f.Header["alg"] = jwt.SigningMethodNone, "none"
		}, jwt.UnsafeAllowNoneSignatureType),
		"cut off": strings.TrimSuffix(good, parts[2]),
	}
	return p
}

// all gives the tokens by name; the good one is "good".
func (p probes) all() map[string]string {
	all := maps.Clone(p.bad)
	all["good"] = p.good
	return all
}

func newKey(t testing.TB, alg string) crypto.Signer {
	t.Helper()
	var (
		key crypto.Signer
		err error
	)
	switch alg {
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "RS256":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "EdDSA":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		t.Fatalf("no key for %s", alg)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// verdict is what a stranger says of one token: the subject, or why not.
type verdict struct {
	Sub   string `json:"sub"`
	Error string `json:"error"`
}

// check holds a stranger's verdicts against the probes.
func (p probes) check(t testing.TB, got map[string]verdict) {
	t.Helper()
	want := p.claims["sub"].(string)
	if v := got["good"]; v.Error != "" || v.Sub != want {
		t.Errorf("our token: got subject %q and error %q, want subject %q", v.Sub, v.Error, want)
	}
	for name := range p.bad {
		switch v, judged := got[name]; {
		case !judged:
			t.Errorf("%s: was not judged", name)
		case v.Error == "":
			t.Errorf("%s: was accepted, for %q", name, v.Sub)
		}
	}
}
