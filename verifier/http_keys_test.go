package verifier_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/quash-auth/quash/verifier"
	"github.com/quash-auth/quash/verifier/verifiertest"
)

// A key that is not in the set is the token's fault (row d); a set that cannot be fetched is ours (row p).
func TestM1_UnknownKeyIs401AndUnreachableKeysAre503(t *testing.T) {
	var set atomic.Pointer[jose.JSONWebKeySet]
	set.Store(new(jose.JSONWebKeySet))
	var away atomic.Bool
	jwks := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if away.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/jwk-set+json")
		if err := json.NewEncoder(w).Encode(set.Load()); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(jwks.Close)
	iss := verifiertest.New(t, verifiertest.WithConfig(func(c *verifier.Config) {
		key := c.Issuers[0].Keys[0]
		set.Store(&jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Key, KeyID: key.ID, Algorithm: key.Algorithm, Use: "sig"}}})
		c.Issuers[0].Keys, c.Issuers[0].JWKSURL = nil, jwks.URL
		c.MemoBytes = -1
	}))
	h := guarded(iss.Verifier(), verifier.HTTPConfig{})
	known, unknown := "Bearer "+iss.Mint(), "Bearer "+iss.Mint(verifiertest.Header("kid", "rotated-away"))
	if w := ask(h, "GET", "Authorization", known); w.Code != 200 {
		t.Fatalf("a known key: got %d", w.Code)
	}
	iss.Advance(time.Minute) // past the pause between two fetches
	checkAnswer(t, ask(h, "GET", "Authorization", unknown), 401, `Bearer realm="api", error="invalid_token", error_description="signature"`)
	away.Store(true)
	iss.Advance(time.Minute)
	checkAnswer(t, ask(h, "GET", "Authorization", unknown), 503, "")
	if w := ask(h, "GET", "Authorization", known); w.Code != 200 {
		t.Errorf("a known key while the set cannot be fetched: got %d", w.Code)
	}
	away.Store(false)
	eventually(t, "the set is read, and not one that was asked for before", func() bool {
		iss.Advance(time.Minute)
		return ask(h, "GET", "Authorization", unknown).Code != 503
	})
	checkAnswer(t, ask(h, "GET", "Authorization", unknown), 401, `Bearer realm="api", error="invalid_token", error_description="signature"`)
}
