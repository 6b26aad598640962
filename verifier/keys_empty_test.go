package verifier_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/verifier"
)

// A key set without a key says nothing about a token. It is not answered as a forged one: its bearer would throw it away.
func TestEmptyKeySet(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"url", "file"} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "jwks.json")
			server := newKeyServer(t, "")
			put := func(doc string) {
				server.serve(doc)
				if err := errors.Join(os.WriteFile(path+".new", []byte(doc), 0o600), os.Rename(path+".new", path)); err != nil {
					t.Fatal(err)
				}
			}
			put(setOf(jwkOf(keyA, nil)))
			r := newRig(t, func(c *verifier.Config, f *memFeed) {
				if byURL(server.URL)(c, f); source == "file" {
					c.Issuers[0].JWKSURL, c.Issuers[0].JWKSFile = "", path
				}
			})
			r.accepts(t, "a known kid", mint(r.clock.Now(), nil))
			known, fresh := mint(r.clock.Now(), nil), mint(r.clock.Now(), object{"jti": "fresh"})
			r.accepts(t, "before", known)
			none := signer{"", keyA.method, keyA.key}
			unnamed := none.compact(text(none.header()), text(goodClaims(issA, r.clock.Now())))
			stranger := signer{"zz", keyA.method, keyA.key}
			unknown := stranger.compact(text(stranger.header()), text(goodClaims(issA, r.clock.Now())))
			for what, doc := range map[string]string{"no key": setOf(), "none that can be used": setOf(object{"kty": "oct", "k": "AAAA", "kid": "a1"})} {
				put(doc)
				if _, err := r.Verify(context.Background(), unknown); err == nil { // makes a set from a URL be read again
					t.Fatal("an unknown kid was accepted")
				}
				eventually(t, what+": the set is read", func() bool { return len(r.Status().Issuers[0].KeyIDs) == 0 })
				for of, raw := range map[string]string{"remembered": known, "not seen before": fresh, "without kid": unnamed, "with an unknown kid": unknown} {
					_, err := r.Verify(context.Background(), raw)
					if !errors.Is(err, verifier.ErrStale) || errors.Is(err, verifier.ErrInvalid) {
						t.Errorf("%s: a token %s: got %v, want ErrStale", what, of, err)
					} else if !strings.Contains(err.Error(), issA) || !strings.Contains(err.Error(), "public keys") {
						t.Errorf("%s: the error must name the issuer and say what to do: %v", what, err)
					}
				}
				w := httptest.NewRecorder()
				q := httptest.NewRequest(http.MethodGet, "/", nil)
				q.Header.Set("Authorization", "Bearer "+fresh)
				r.Middleware(verifier.HTTPConfig{})(http.NotFoundHandler()).ServeHTTP(w, q)
				if w.Code != http.StatusServiceUnavailable {
					t.Errorf("%s: got status %d, want 503", what, w.Code)
				}
				if err := r.Ready(); !errors.Is(err, verifier.ErrNoKey) {
					t.Errorf("%s: Ready: got %v, want ErrNoKey", what, err)
				}
				// A node that is not ready is asked nothing: it looks by itself, long before Refresh is over.
				put(setOf(jwkOf(keyA, nil)))
				eventually(t, what+": healed", func() bool { return r.Ready() == nil && r.Status().Issuers[0].Error == "" })
				r.accepts(t, "afterwards", fresh)
				r.clock.Advance(10 * time.Second) // an unknown kid may ask again
			}
		})
	}
}
