package verifier_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"

	"github.com/quash-auth/quash/verifier"
)

func TestKeysThatAreSkipped(t *testing.T) {
	t.Parallel()
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	rsaJWK := func(n *big.Int, e []byte) object {
		return object{"kty": "RSA", "kid": "r", "n": enc(n.Bytes()), "e": enc(e)}
	}
	short := new(big.Int).SetBit(big.NewInt(1), 2046, 1)
	skipped := []object{
		jwkOf(keyB, object{"use": "enc"}),
		jwkOf(keyB, object{"key_ops": []string{"sign"}}),
		jwkOf(keyB, object{"alg": "ES384"}),
		jwkOf(keyB, object{"alg": "RS256"}),
		jwkOf(keyB, object{"alg": "none"}),
		jwkOf(keyB, object{"crv": "secp256k1", "alg": nil}),
		jwkOf(keyB, object{"x": enc(make([]byte, 32))}),
		jwkOf(keyB, object{"x": nil}),
		jwkOf(keyB, object{"x": 7}),
		jwkOf(keyB, object{"kid": 7}),
		jwkOf(keyB, object{"kid": strings.Repeat("k", 513)}),
		jwkOf(keyB, object{"kty": "AKP"}),
		jwkOf(keyB, object{"kty": nil}),
		{"kty": "oct", "kid": "o", "alg": "HS256", "k": enc([]byte(strings.Repeat("k", 32)))},
		{"kty": "OKP", "crv": "X25519", "kid": "x", "x": enc(make([]byte, 32))},
		{"kty": "OKP", "crv": "Ed25519", "kid": "e", "x": enc(make([]byte, 31))},
		rsaJWK(short, []byte{1, 0, 1}),
		rsaJWK(weak.N, []byte{1}),
		rsaJWK(weak.N, []byte{1, 0, 0}),
		{},
	}
	for _, bad := range skipped {
		server := newKeyServer(t, text(object{"keys": []any{bad, jwkOf(keyA, nil)}, "more": 1}))
		r := newRig(t, byURL(server.URL))
		r.accepts(t, "good key beside "+text(bad), mint(r.clock.Now(), nil))
		is := r.Status().Issuers[0]
		if is.Skipped != 1 || len(is.KeyIDs) != 1 || len(is.Notes) != 1 {
			t.Errorf("%s: got %d skipped, kids %q, notes %q; want one skipped", text(bad), is.Skipped, is.KeyIDs, is.Notes)
		}
	}
}

func TestKeysThatAreUsed(t *testing.T) {
	t.Parallel()
	for what, doc := range map[string]string{
		"private half is ignored, loudly": setOf(jwkOf(keyA, object{"d": "AAAA"})),
		"no use, no alg":                  setOf(jwkOf(keyA, object{"use": nil, "alg": nil})),
		"key_ops with verify":             setOf(jwkOf(keyA, object{"key_ops": []string{"verify"}})),
		"certificates are not looked at":  setOf(jwkOf(keyA, object{"x5c": []string{"bad"}, "x5u": "::"})),
		"the same key twice":              setOf(jwkOf(keyA, nil), jwkOf(keyA, nil)),
		"no kid":                          setOf(jwkOf(keyA, object{"kid": nil})),
	} {
		server := newKeyServer(t, doc)
		r := newRig(t, byURL(server.URL))
		header := keyA.header()
		if what == "no kid" {
			header = with(header, object{"kid": nil})
		}
		token := r.accepts(t, what, keyA.compact(text(header), text(goodClaims(issA, r.clock.Now()))))
		if token.KeyID == "" {
			t.Errorf("%s: the key has no name, so it could not be revoked", what)
		}
		is := r.Status().Issuers[0]
		if warned := len(is.Notes) > 0; warned != strings.HasPrefix(what, "private") {
			t.Errorf("%s: notes: got %q", what, is.Notes)
		}
	}
	server := newKeyServer(t, setOf(jwkOf(keyA, nil), jwkOf(keyB, nil)))
	r := newRig(t, byURL(server.URL))
	noKid := keyA.compact(text(with(keyA.header(), object{"kid": nil})), text(goodClaims(issA, r.clock.Now())))
	r.refuses(t, "no kid, and two keys", noKid, verifier.ErrNoKey)
}
