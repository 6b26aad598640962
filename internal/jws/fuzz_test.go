package jws_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/quash-auth/quash/internal/jws"
)

// FuzzHeader: a header that is read has an alg that is written exactly once and exactly so.
func FuzzHeader(f *testing.F) {
	for _, doc := range []string{
		`{"alg":"ES256","kid":"a","typ":"at+jwt"}`, `{"alg":"ES256","ALG":"none"}`, `{"alg":"ES256","alg":"none"}`, `{"alg":null}`,
		`{"\u0061lg":"ES256"}`, `{"alg":"ES256","crit":[]}`, `{"alg":"ES256","jwk":{"kty":"oct"}}`, `{"alg":"` + strings.Repeat("A", 99) + `"}`, `[]`, ``,
	} {
		f.Add([]byte(doc))
	}
	parser := jwt.NewParser()
	b64 := base64.RawURLEncoding.EncodeToString
	f.Fuzz(func(t *testing.T, doc []byte) {
		h, err := jws.ParseHeader(doc)
		if err != nil {
			return
		}
		if h.Alg == "" || len(h.KeyID) > jws.MaxKeyID || !utf8.ValidString(h.Alg+h.KeyID+h.Typ) {
			t.Fatalf("%q: %+v", doc, h)
		}
		token, _, _ := parser.ParseUnverified(b64(doc)+"."+b64([]byte("{}"))+".", jwt.MapClaims{})
		if token == nil || token.Header["alg"] != h.Alg {
			t.Fatalf("%q: got alg %q, golang-jwt reads %v", doc, h.Alg, token)
		}
	})
}

// FuzzSplit: a text has one way to be taken apart, and what was taken apart can be put together again.
func FuzzSplit(f *testing.F) {
	const head = "eyJhbGciOiJFUzI1NiJ9" // {"alg":"ES256"}
	for _, raw := range []string{head + ".e30.AAAA", head + ".e30.", head + "..AAAA", head + ".e30.AB", head + ".e31.AAAA", head + ".e30.AA=", head + ".e3\n0.AAAA", "a.b.c.d.e", "..", ""} {
		f.Add(raw)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	f.Fuzz(func(t *testing.T, raw string) {
		p, err := jws.Split(raw)
		if err != nil {
			return
		}
		if again := p.Signed + "." + b64(p.Signature); again != raw {
			t.Fatalf("%q came apart and together as %q", raw, again)
		}
		head, payload, _ := strings.Cut(p.Signed, ".")
		if payload != b64(p.Payload) || len(p.Payload) == 0 {
			t.Fatalf("%q: payload %q", raw, p.Payload)
		}
		doc, err := base64.RawURLEncoding.DecodeString(head)
		if h, wrong := jws.ParseHeader(doc); err != nil || wrong != nil || h != p.Header {
			t.Fatalf("%q: header %+v, read alone %+v, %v, %v", raw, p.Header, h, wrong, err)
		}
	})
}

// FuzzJWKS: whatever a key server sends, only public keys of the right kind come out.
func FuzzJWKS(f *testing.F) {
	const (
		okp = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"`
		ec  = `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"`
	)
	for _, doc := range []string{
		`{"keys":[` + ec + `}]}`, `{"keys":[` + ec + `,"kid":"a"},` + okp + `}]}`, `{"keys":[` + ec + `,"kid":"a"},` + ec + `,"kid":"a","alg":"ES256"}]}`,
		`{"keys":[` + ec + `,"d":"AAAA","use":"sig","key_ops":["verify"]}]}`, `{"keys":[` + ec + `,"use":"enc"}]}`,
		`{"keys":[{"kty":"oct","k":"AAAA"}]}`, `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`, `{"keys":null}`, `{"keys":[1]}`, `{"keys":[]}`, `{}`, `[]`, ``,
		`{"keys":[{"kty":"RSA","n":"` + strings.Repeat("A", 2000) + `","e":"` + strings.Repeat("A", 20) + `"}]}`,
	} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		set, err := jws.ParseKeySet(doc, all)
		if err != nil {
			return
		}
		for _, kid := range set.IDs() {
			if kid == "" || len(kid) > jws.MaxKeyID {
				t.Fatalf("kid %q", kid)
			}
			switch k := set.Find(kid).Public.(type) {
			case *ecdsa.PublicKey:
				if _, err := k.ECDH(); err != nil {
					t.Fatalf("not on its curve: %v", err)
				}
			case *rsa.PublicKey:
				if k.N.BitLen() < 2048 || k.E < 3 {
					t.Fatalf("weak RSA key: %d bits, e %d", k.N.BitLen(), k.E)
				}
			case ed25519.PublicKey:
				if len(k) != ed25519.PublicKeySize {
					t.Fatalf("Ed25519 key of %d bytes", len(k))
				}
			default:
				t.Fatalf("a key of type %T came out of a JWK Set", k)
			}
		}
	})
}
