package interop

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/issuer"
)

const (
	audience = "api"
	user     = "ada"
	password = "correct horse battery staple"
)

// algorithms are all that quash signs with.
var algorithms = []string{"ES256", "RS256", "EdDSA"}

// world is a NATS server and an issuer process of the built binary.
type world struct {
	t       testing.TB
	nats    *natstest.Server
	issuer  string // iss, and where it is served
	keysDir string
	secrets map[string]string // by client
	library *issuer.Issuer    // of newLibraryIssuer
}

// newWorld starts an issuer that signs with alg; more are flags of quash issuer.
func newWorld(t testing.TB, alg string, more ...string) *world {
	t.Helper()
	w := &world{t: t, nats: natstest.Start(t), keysDir: filepath.Join(t.TempDir(), "keys")}
	p := startQuash(t, append([]string{"issuer", "--nats", w.nats.URL(), "--listen", "127.0.0.1:0", "--ensure-stream",
		"--keys-dir", w.keysDir, "--key-alg", alg, "--user", user + ":" + password,
		"--password-memory", "64", "--password-passes", "1", "--login-burst", "1000"}, more...)...)
	var err error
	if w.issuer, err = p.waitFor(`issuer: \S+ for (\S+)`); err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(w.issuer)
	if err != nil {
		t.Fatal(err)
	}
	p.ready(t, "http://"+at.Host+"/readyz")
	return w
}

// newWorldWithClients is one with the registry file of newRegistry.
func newWorldWithClients(t testing.TB) *world {
	t.Helper()
	registry, secrets := newRegistry(t)
	w := newWorld(t, "ES256", "--clients", registry)
	w.secrets = secrets
	return w
}

func (w *world) jwks() string { return w.issuer + "/.well-known/jwks.json" }

// until polls a condition that no event announces.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !f(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// tokens is an answer of the issuer.
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Session string `json:"sid"`
}

// login is quash's own first-party login.
func (w *world) login() tokens {
	w.t.Helper()
	return w.loginTo(registered{})
}

// loginTo is the same at a client; the zero one is the issuer's first.
func (w *world) loginTo(r registered) tokens {
	w.t.Helper()
	members := map[string]string{"username": user, "password": password}
	if r.ID != "" {
		members["client_id"] = r.ID
	}
	body, err := json.Marshal(members)
	if err != nil {
		w.t.Fatal(err)
	}
	status, text := 0, []byte(nil)
	until(w.t, "the issuer answers a login with something but 503", func() bool { // which says that it was not done
		req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.issuer+"/login", bytes.NewReader(body))
		if err != nil {
			w.t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if secret := w.secrets[r.ID]; secret != "" {
			req.SetBasicAuth(url.QueryEscape(r.ID), url.QueryEscape(secret))
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			w.t.Fatal(err)
		}
		defer res.Body.Close() //nolint:errcheck // only read
		if text, err = io.ReadAll(res.Body); err != nil {
			w.t.Fatal(err)
		}
		status = res.StatusCode
		return status != http.StatusServiceUnavailable
	})
	if status != http.StatusOK {
		w.t.Fatalf("POST /login: got %d, want 200: %s", status, text)
	}
	var answer tokens
	if err := json.Unmarshal(text, &answer); err != nil {
		w.t.Fatal(err)
	}
	return answer
}

// get fetches a document of ours.
func (w *world) get(url string) []byte {
	w.t.Helper()
	res, err := http.Get(url)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		w.t.Fatalf("GET %s: status %d, %v", url, res.StatusCode, err)
	}
	return text
}

func readAll(t testing.TB, r io.Reader) string {
	t.Helper()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func postBearer(t testing.TB, target, raw string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+raw)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // only read
	return res.StatusCode, readAll(t, res.Body)
}
