package interop

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/quash-auth/quash/internal/natstest"
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
}

// newWorld starts an issuer that signs with alg; more are flags of quash issuer.
func newWorld(t testing.TB, alg string, more ...string) *world {
	t.Helper()
	w := &world{t: t, nats: natstest.Start(t), keysDir: filepath.Join(t.TempDir(), "keys")}
	p := startQuash(t, append([]string{"issuer", "--nats", w.nats.URL(), "--listen", "127.0.0.1:0", "--ensure-stream",
		"--keys-dir", w.keysDir, "--key-alg", alg, "--user", user + ":" + password}, more...)...)
	var err error
	if w.issuer, err = p.waitFor(`issuer: \S+ for (\S+)`); err != nil {
		t.Fatal(err)
	}
	w.ready(w.issuer)
	return w
}

func (w *world) jwks() string { return w.issuer + "/.well-known/jwks.json" }

// ready waits until a process of quash says that it is.
func (w *world) ready(base string) {
	w.t.Helper()
	until(w.t, base+" is ready", func() bool {
		res, err := http.Get(base + "/readyz")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

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
	body, err := json.Marshal(map[string]string{"username": user, "password": password})
	if err != nil {
		w.t.Fatal(err)
	}
	res, err := http.Post(w.issuer+"/login", "application/json", bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		w.t.Fatalf("POST /login: got %d, want 200: %s", res.StatusCode, text)
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
