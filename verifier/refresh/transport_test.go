package refresh_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/verifier/refresh"
)

func TestTokenStaysWithItsOrigins(t *testing.T) {
	w := newWorld(t)
	w.good = "a1"
	var seen []string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
	}))
	t.Cleanup(other.Close)
	redirect := httptest.NewServer(http.RedirectHandler(other.URL+"/stolen", http.StatusFound))
	t.Cleanup(redirect.Close)
	config := w.config()
	config.Origins = append(config.Origins, redirect.URL)
	c, _ := w.client(t, config)
	for _, target := range []string{redirect.URL, other.URL, strings.Replace(w.api.URL, "127.0.0.1", "localhost", 1)} {
		if _, _, err := get(t, c, target); err != nil && !strings.Contains(target, "localhost") {
			t.Fatal(err)
		}
	}
	if len(seen) != 2 || seen[0] != "" || seen[1] != "" {
		t.Errorf("another host got %q, want two requests without a token", seen)
	}
	w.want(t, w.apiCalls, 0)

	// A request that brings its own credentials keeps them.
	req, err := http.NewRequest(http.MethodGet, w.api.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer own")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 401 {
		t.Errorf("own credentials: got %d, want the API's 401", resp.StatusCode)
	}
	w.want(t, w.apiCalls, 0)
}

func TestEarlyRefresh(t *testing.T) {
	w := newWorld(t)
	w.good = "a1"
	config := w.config()
	config.Early = time.Minute
	config.Tokens.Expires = w.now.Add(10 * time.Minute)
	c, transport := w.client(t, config)
	ask := func(want int) {
		t.Helper()
		if status, _, err := get(t, c, w.api.URL); err != nil || status != want {
			t.Fatalf("got %d, %v; want %d", status, err, want)
		}
	}
	ask(200)
	w.want(t, 1, 0)
	w.set(func() { w.token = tokenError(503, "") })
	w.advance(9*time.Minute + time.Second)
	ask(200) // the issuer is away, but the token is still good
	w.want(t, 2, 1)
	w.set(func() { w.token = nil; w.good = "a3" })
	w.advance(45 * time.Second) // the pause is over
	ask(200)
	w.want(t, 3, 2)
	if got := transport.Tokens().Expires; !got.After(w.now.Add(9 * time.Minute)) {
		t.Errorf("the new token expires at %s, want ten minutes from %s", got, w.now)
	}
	// Early longer than the life of a token does not mean a refresh for each request.
	config.Early = time.Hour
	config.Tokens = transport.Tokens()
	c, _ = w.client(t, config)
	for range 5 {
		ask(200)
	}
	w.want(t, 8, 2)
}

func TestCancelledCallerDoesNotLoseTheNewTokens(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	w.token = func(rw http.ResponseWriter, _ *http.Request) {
		cancel()
		<-release
		tokenAnswer(`{"access_token":"a2","refresh_token":"r2"}`)(rw, nil)
	}
	c, transport := w.client(t, w.config())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.api.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do(req); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
	close(release)
	transport.Wait()
	if got := transport.Tokens(); got.Refresh != "r2" {
		t.Errorf("got %q, want r2: the refresh must go on without its caller", got.Refresh)
	}
}

func TestSetTokensDuringARefreshWins(t *testing.T) {
	w := newWorld(t)
	w.good = "login"
	var transport *refresh.Transport
	w.token = func(rw http.ResponseWriter, _ *http.Request) {
		if err := transport.SetTokens(refresh.Tokens{Access: "login", Refresh: "r9"}); err != nil {
			t.Error(err)
		}
		tokenError(400, "invalid_grant")(rw, nil)
	}
	c, transport2 := w.client(t, w.config())
	transport = transport2
	if status, _, err := get(t, c, w.api.URL); err != nil || status != 200 {
		t.Errorf("got %d, %v; want 200 with the tokens of the login", status, err)
	}
	if got := transport.Tokens(); got.Refresh != "r9" {
		t.Errorf("got %q, want r9", got.Refresh)
	}
}

func TestSaveFailure(t *testing.T) {
	w := newWorld(t)
	config := w.config()
	disk := errors.New("disk full")
	config.Save = func(refresh.Tokens) error { return disk }
	c, transport := w.client(t, config)
	if _, _, err := get(t, c, w.api.URL); !errors.Is(err, refresh.ErrSave) || !errors.Is(err, disk) {
		t.Errorf("got %v, want ErrSave and its cause", err)
	}
	if got := transport.Tokens(); got.Refresh != "r2" {
		t.Errorf("got %q, want r2: the old one is gone at the issuer", got.Refresh)
	}
	if status, _, err := get(t, c, w.api.URL); err != nil || status != 200 {
		t.Errorf("the next request: got %d, %v; want 200", status, err)
	}
}

func TestStartStates(t *testing.T) {
	w := newWorld(t)
	config := w.config()
	config.Tokens = refresh.Tokens{Refresh: "r1"}
	c, _ := w.client(t, config)
	if status, _, err := get(t, c, w.api.URL); err != nil || status != 200 {
		t.Errorf("refresh token only: got %d, %v; want 200", status, err)
	}
	w.want(t, 1, 1)

	config.Tokens = refresh.Tokens{Access: "a1"}
	c, _ = w.client(t, config)
	if status, _, err := get(t, c, w.api.URL); err != nil || status != 401 {
		t.Errorf("access token only: got %d, %v; want the 401", status, err)
	}
	config.Tokens = refresh.Tokens{}
	c, _ = w.client(t, config)
	if _, _, err := get(t, c, w.api.URL); !errors.Is(err, refresh.ErrSignedOut) {
		t.Errorf("no tokens: got %v, want ErrSignedOut", err)
	}
	w.want(t, 2, 1)
}

func TestClientAuthentication(t *testing.T) {
	for _, secret := range []string{"", "s:e%c ret"} {
		w := newWorld(t)
		var header string
		w.token = func(rw http.ResponseWriter, r *http.Request) {
			header = r.Header.Get("Authorization")
			id, password, _ := r.BasicAuth()
			if secret != "" && (id != url.QueryEscape("my app") || password != url.QueryEscape(secret)) {
				t.Errorf("got %q and %q, want both form-urlencoded", id, password)
			}
			tokenAnswer(`{"access_token":"a2","expires_in":"600"}`)(rw, nil)
		}
		config := w.config()
		config.ClientID, config.ClientSecret = "my app", secret
		c, transport := w.client(t, config)
		if status, _, err := get(t, c, w.api.URL); err != nil || status != 200 {
			t.Fatalf("got %d, %v; want 200", status, err)
		}
		form, err := url.ParseQuery(w.forms[0])
		if err != nil {
			t.Fatal(err)
		}
		if form.Get("grant_type") != "refresh_token" || form.Get("refresh_token") != "r1" {
			t.Errorf("got form %v", form)
		}
		if public := secret == ""; (header == "") != public || form.Has("client_id") != public {
			t.Errorf("secret %q: header %q and client_id %q, want exactly one of them", secret, header, form.Get("client_id"))
		}
		if got := transport.Tokens(); got.Refresh != "r1" || got.Expires.IsZero() {
			t.Errorf("got %q until %s, want r1 kept and an expiry from a string", got.Refresh, got.Expires)
		}
	}
}

func TestConfig(t *testing.T) {
	good := refresh.Config{Origins: []string{"https://api.example"}, TokenURL: "https://login.example/token", ClientID: "app"}
	if _, err := refresh.New(good); err != nil {
		t.Fatalf("a good config: %v", err)
	}
	for _, tt := range []struct {
		field string
		spoil func(*refresh.Config)
	}{
		{"Origins", func(c *refresh.Config) { c.Origins = nil }},
		{"Origins", func(c *refresh.Config) { c.Origins = []string{"api.example"} }},
		{"Origins", func(c *refresh.Config) { c.Origins = []string{"http://api.example"} }},
		{"Origins", func(c *refresh.Config) { c.Origins = []string{"https://api.example/v1"} }},
		{"Origins", func(c *refresh.Config) { c.Origins = []string{"https://me@api.example"} }},
		{"TokenURL", func(c *refresh.Config) { c.TokenURL = "" }},
		{"TokenURL", func(c *refresh.Config) { c.TokenURL = "http://login.example/token" }},
		{"TokenURL", func(c *refresh.Config) { c.TokenURL = "https://login.example/token#x" }},
		{"ClientID", func(c *refresh.Config) { c.ClientID = "" }},
		{"Early", func(c *refresh.Config) { c.Early = -1 }},
		{"Timeout", func(c *refresh.Config) { c.Timeout = -1 }},
	} {
		c := good
		tt.spoil(&c)
		if _, err := refresh.New(c); !errors.Is(err, refresh.ErrConfig) || !strings.Contains(err.Error(), "Config."+tt.field+" ") {
			t.Errorf("got %v, want ErrConfig that names %s", err, tt.field)
		}
	}
}
