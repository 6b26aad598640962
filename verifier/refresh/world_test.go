package refresh_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/quash-auth/quash/verifier/refresh"
)

// world is an API and an issuer on real listeners. good is the access token the API accepts.
type world struct {
	api, issuer *httptest.Server

	mu        sync.Mutex
	good      string
	refused   http.HandlerFunc // what the API answers to any other token
	token     http.HandlerFunc // replaces the token endpoint
	apiCalls  int
	refreshes int
	forms     []string
	saved     []refresh.Tokens
	now       time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{good: "a2", now: time.Unix(1_800_000_000, 0), refused: challenge(401, `Bearer realm="api", error="invalid_token"`)}
	w.api = httptest.NewServer(http.HandlerFunc(w.serveAPI))
	w.issuer = httptest.NewServer(http.HandlerFunc(w.serveToken))
	t.Cleanup(w.api.Close)
	t.Cleanup(w.issuer.Close)
	return w
}

func (w *world) serveAPI(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.mu.Lock()
	w.apiCalls++
	ok, refused := r.Header.Get("Authorization") == "Bearer "+w.good, w.refused
	w.mu.Unlock()
	if !ok {
		refused(rw, r)
		return
	}
	fmt.Fprintf(rw, "hello %s", body)
}

// serveToken rotates: r1 gives a2 and r2, and so on.
func (w *world) serveToken(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.mu.Lock()
	w.refreshes++
	n, special := w.refreshes, w.token
	w.forms = append(w.forms, string(body))
	w.mu.Unlock()
	if special != nil {
		special(rw, r)
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(rw, `{"access_token":"a%d","token_type":"bearer","expires_in":600,"refresh_token":"r%d"}`, n+1, n+1)
}

func (w *world) config() refresh.Config {
	return refresh.Config{
		Origins: []string{w.api.URL}, TokenURL: w.issuer.URL + "/token", ClientID: "app",
		Tokens: refresh.Tokens{Access: "a1", Refresh: "r1"}, Base: w.api.Client().Transport,
		Save: func(tokens refresh.Tokens) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.saved = append(w.saved, tokens)
			return nil
		},
		Now: func() time.Time {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.now
		},
	}
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) want(t *testing.T, apiCalls, refreshes int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.apiCalls != apiCalls || w.refreshes != refreshes {
		t.Errorf("got %d requests at the API and %d refreshes, want %d and %d", w.apiCalls, w.refreshes, apiCalls, refreshes)
	}
}

func (w *world) client(t *testing.T, c refresh.Config) (*http.Client, *refresh.Transport) {
	t.Helper()
	transport, err := refresh.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(transport.Wait)
	return &http.Client{Transport: transport}, transport
}

func challenge(status int, lines ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, line := range lines {
			w.Header().Add("WWW-Authenticate", line)
		}
		w.WriteHeader(status)
	}
}

func tokenError(status int, code string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": code})
	}
}

func get(t *testing.T, c *http.Client, url string) (int, string, error) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body), nil
}
