package verifier_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/quash-auth/quash/verifier"
)

// FuzzVerify: nothing is accepted that golang-jwt refuses under its strictest options, and nothing panics. The fuzzer
// changes the two JSON texts, which are then signed, and the compact text itself.
func FuzzVerify(f *testing.F) {
	header, claims := text(keyA.header()), text(goodClaims(issA, start))
	for _, h := range []string{header, `{"alg":"none"}`, `{"alg":"ES256","typ":"at+jwt","kid":"a1","crit":["b64"],"b64":false}`, `{}`, `[]`, header + " "} {
		f.Add(h, claims, "", 0)
	}
	for _, c := range []string{
		`{}`, `{"iss":"https://a.example"}`, strings.Replace(claims, `"jti"`, `"JTI"`, 1), strings.Replace(claims, "{", `{"jti":1,`, 1),
		strings.Replace(claims, `"exp":`, `"exp":1e9,"x":`, 1), strings.Replace(claims, `"aud":`, `"aud":[],"x":`, 1), claims + "x",
		strings.Replace(claims, `"exp":`, `"exp":1900000600.5,"x":`, 1), strings.Replace(claims, `"exp":`, `"exp":190000060e1,"x":`, 1),
		strings.Replace(claims, `"iat":`, `"iat":-1e3,"x":`, 1), strings.Replace(claims, `"aud":`, `"aud":["a","https://api.example"],"x":`, 1),
	} {
		f.Add(header, c, "", 0)
	}
	f.Add(header, claims, "\n", 10)
	f.Add(header, claims, "=", 1000)
	f.Add(header, claims, ".", 50)
	r := newRig(f, nil)
	strict := jwt.NewParser(
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(issA), jwt.WithAudience(api), jwt.WithStrictDecoding(),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(30*time.Second), jwt.WithTimeFunc(r.clock.Now), jwt.WithJSONNumber(),
	)
	f.Fuzz(func(t *testing.T, header, claims, insert string, at int) {
		raw := keyA.compact(header, claims)
		if insert != "" && at >= 0 {
			at %= len(raw) + 1
			raw = raw[:at] + insert + raw[at:]
		}
		got, err := r.Verify(context.Background(), raw)
		if err != nil {
			if got != nil {
				t.Fatalf("a token with an error: %v", err)
			}
			if !errors.Is(err, verifier.ErrInvalid) {
				t.Fatalf("%q: a bad token must be ErrInvalid, got %v", raw, err)
			}
			return
		}
		theirs := jwt.MapClaims{}
		if _, err := strict.ParseWithClaims(raw, theirs, func(*jwt.Token) (any, error) { return keyA.public(), nil }); err != nil {
			t.Fatalf("accepted what golang-jwt refuses: %v\n%s\n%s", err, header, claims)
		}
		for name, mine := range map[string]string{"iss": got.Issuer, "sub": got.Subject, "jti": got.ID, "sid": got.Session, "client_id": got.Client} {
			if their, _ := theirs[name].(string); their != mine {
				t.Fatalf("%s: got %q, golang-jwt reads %q", name, mine, their)
			}
			if len(mine) > 512 || !utf8.ValidString(mine) {
				t.Fatalf("%s: %q could not be named by a statement", name, mine)
			}
		}
		if got.ID == "" || got.Subject == "" || got.Client == "" || got.IssuedAt.IsZero() || got.Expires.Sub(got.IssuedAt) > time.Hour {
			t.Fatalf("the strict profile let through %+v", got)
		}
	})
}

// FuzzHeader: a header that is read has an alg that is written exactly once and exactly so.
func FuzzHeader(f *testing.F) {
	for _, doc := range []string{
		`{"alg":"ES256","kid":"a","typ":"at+jwt"}`, `{"alg":"ES256","ALG":"none"}`, `{"alg":"ES256","alg":"none"}`, `{"alg":null}`,
		`{"\u0061lg":"ES256"}`, `{"alg":"ES256","crit":[]}`, `{"alg":"ES256","jwk":{"kty":"oct"}}`, `{"alg":"` + strings.Repeat("A", 99) + `"}`, `[]`, ``,
	} {
		f.Add([]byte(doc))
	}
	parser := jwt.NewParser()
	f.Fuzz(func(t *testing.T, doc []byte) {
		alg, kid, typ, err := verifier.ParseHeader(doc)
		if err != nil {
			if !errors.Is(err, verifier.ErrMalformed) {
				t.Fatalf("got %v, want ErrMalformed", err)
			}
			return
		}
		if alg == "" || len(kid) > 512 || !utf8.ValidString(alg+kid+typ) {
			t.Fatalf("%q: alg %q kid %q typ %q", doc, alg, kid, typ)
		}
		token, _, _ := parser.ParseUnverified(b64(string(doc))+"."+b64("{}")+".", jwt.MapClaims{})
		if token == nil || token.Header["alg"] != alg {
			t.Fatalf("%q: got alg %q, golang-jwt reads %v", doc, alg, token)
		}
	})
}

// FuzzJWKS: whatever a key server sends, only public keys of the right kind come out.
func FuzzJWKS(f *testing.F) {
	good := jwkOf(keyA, nil)
	for _, doc := range []string{
		setOf(good), setOf(), setOf(good, jwkOf(keyB, nil)), setOf(good, jwkOf(keyB, object{"kid": "a1"})),
		`{"keys":[{"kty":"oct","k":"AAAA"}]}`, `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`, `{"keys":null}`, `{"keys":[1]}`, `{}`, `[]`, ``,
		`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`,
		setOf(jwkOf(keyA, object{"d": "AAAA", "use": "sig", "key_ops": []string{"verify"}})),
		`{"keys":[{"kty":"RSA","n":"` + strings.Repeat("A", 2000) + `","e":"` + strings.Repeat("A", 20) + `"}]}`,
	} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		keys, err := verifier.ParseKeySet(doc)
		if err != nil {
			return
		}
		for kid, key := range keys {
			if kid == "" || len(kid) > 512 {
				t.Fatalf("kid %q", kid)
			}
			switch k := key.(type) {
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
				t.Fatalf("a key of type %T came out of a JWK Set", key)
			}
		}
	})
}
