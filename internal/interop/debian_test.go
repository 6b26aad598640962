package interop

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestJoseInC is Debian's jose, a program in C. It has no EdDSA.
func TestJoseInC(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"ES256", "RS256"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, alg)
			set := w.get(w.jwks())
			keys := filepath.Join(t.TempDir(), "jwks.json")
			if err := os.WriteFile(keys, set, 0o600); err != nil {
				t.Fatal(err)
			}
			p := newProbes(t, alg, w.login().Access)
			got := map[string]verdict{}
			for name, raw := range p.all() {
				got[name] = joseVerify(t, keys, raw)
			}
			p.check(t, got)

			var parsed struct {
				Keys []json.RawMessage `json:"keys"`
			}
			if err := json.Unmarshal(set, &parsed); err != nil {
				t.Fatal(err)
			}
			if len(parsed.Keys) != 1 {
				t.Fatalf("the key set has %d keys, want 1", len(parsed.Keys))
			}
			thumbprint := runProgram(t, parsed.Keys[0], "jose", "jwk", "thp", "-i", "-", "-a", "S256")
			if got := strings.TrimSpace(string(thumbprint)); got != p.kid {
				t.Errorf("jose jwk thp: got %s, but the token's kid is %s", got, p.kid)
			}
		})
	}
}

// joseVerify checks a signature; the claims are not jose's business.
func joseVerify(t testing.TB, keys, raw string) verdict {
	t.Helper()
	payload, err := tryProgram(t, []byte(raw), "jose", "jws", "ver", "-i", "-", "-k", keys, "-O", "-")
	if err != nil {
		return verdict{Error: err.Error()}
	}
	var v verdict
	if err := json.Unmarshal(payload, &v); err != nil {
		return verdict{Error: err.Error()}
	}
	return v
}
