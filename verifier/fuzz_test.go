package verifier_test

import (
	"context"
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
