package refresh_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quash-auth/quash/internal/leaks"
	"github.com/quash-auth/quash/internal/ports"
	"github.com/quash-auth/quash/verifier/refresh"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func TestM20_OneRefreshFor100Parallel401s(t *testing.T) {
	w := newWorld(t)
	const requests = 100
	// Nobody gets his 401 before all have sent the old token: the worst case.
	var arrived sync.WaitGroup
	arrived.Add(requests)
	deny := w.refused
	w.refused = func(rw http.ResponseWriter, r *http.Request) {
		arrived.Done()
		arrived.Wait()
		deny(rw, r)
	}
	c, transport := w.client(t, w.config())
	var done sync.WaitGroup
	errs := make(chan error, requests)
	for range requests {
		done.Go(func() {
			status, body, err := get(t, c, w.api.URL)
			if err != nil || status != 200 || body != "hello " {
				errs <- fmt.Errorf("got %d %q, %w", status, body, err)
			}
		})
	}
	done.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	w.want(t, 2*requests, 1)
	if got := transport.Tokens(); got.Access != "a2" || got.Refresh != "r2" {
		t.Errorf("tokens after the refresh: got %q and %q, want a2 and r2", got.Access, got.Refresh)
	}
	if len(w.saved) != 1 || w.saved[0].Refresh != "r2" {
		t.Errorf("saved %d times, want once with r2", len(w.saved))
	}
}

func TestM20_NoLoopWhenTheNewTokenAlsoFails(t *testing.T) {
	w := newWorld(t)
	w.good = "none"
	c, _ := w.client(t, w.config())
	status, _, err := get(t, c, w.api.URL)
	if err != nil || status != 401 {
		t.Fatalf("got %d, %v; want the second 401", status, err)
	}
	w.want(t, 2, 1)
	for range 10 {
		if status, _, err := get(t, c, w.api.URL); err != nil || status != 401 {
			t.Fatalf("got %d, %v; want 401", status, err)
		}
	}
	w.want(t, 12, 1) // no refresh for each of them
	w.advance(time.Minute)
	if status, _, err := get(t, c, w.api.URL); err != nil || status != 401 {
		t.Fatalf("got %d, %v; want 401", status, err)
	}
	w.want(t, 14, 2)
}

func TestM20_ATokenThatWasAcceptedOnceIsRenewedAtOnce(t *testing.T) {
	w := newWorld(t)
	c, _ := w.client(t, w.config())
	for i := range 5 {
		w.set(func() { w.good = fmt.Sprintf("a%d", i+2) })
		if status, _, err := get(t, c, w.api.URL); err != nil || status != 200 {
			t.Fatalf("round %d: got %d, %v; want 200", i, status, err)
		}
	}
	w.want(t, 10, 5)
}

func TestM20_StopsOnInvalidGrant(t *testing.T) {
	w := newWorld(t)
	w.token = tokenError(400, "invalid_grant")
	c, transport := w.client(t, w.config())
	for range 3 {
		_, _, err := get(t, c, w.api.URL)
		if !errors.Is(err, refresh.ErrSignedOut) {
			t.Fatalf("got %v, want ErrSignedOut", err)
		}
	}
	w.want(t, 1, 1)
	if got := transport.Tokens(); got != (refresh.Tokens{}) {
		t.Errorf("tokens kept: %v", got)
	}
	if len(w.saved) != 1 || w.saved[0] != (refresh.Tokens{}) {
		t.Errorf("saved %v, want the empty tokens once", w.saved)
	}
	// A new login works without a new transport.
	if err := transport.SetTokens(refresh.Tokens{Access: "a2", Refresh: "r9"}); err != nil {
		t.Fatal(err)
	}
	if status, _, err := get(t, c, w.api.URL); err != nil || status != 200 {
		t.Errorf("after SetTokens: got %d, %v; want 200", status, err)
	}
}

func TestRefreshFailures(t *testing.T) {
	nobody, err := ports.Address() // which no other server is given meanwhile
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		token  http.HandlerFunc
		url    string
		kind   error
		status int
		wait   time.Duration // at least
	}{
		{"invalid client", tokenError(401, "invalid_client"), "", refresh.ErrClient, 401, time.Second},
		{"invalid client as 400", tokenError(400, "invalid_client"), "", refresh.ErrClient, 400, time.Second},
		{"unauthorized client", tokenError(400, "unauthorized_client"), "", refresh.ErrClient, 400, time.Second},
		{"no such page", http.NotFound, "", refresh.ErrClient, 404, time.Second},
		{"redirect", http.RedirectHandler("/elsewhere", http.StatusTemporaryRedirect).ServeHTTP, "", refresh.ErrClient, http.StatusTemporaryRedirect, time.Second},
		{"another token type", tokenAnswer(`{"access_token":"a2","token_type":"DPoP"}`), "", refresh.ErrClient, 200, time.Second},
		{"unavailable", tokenError(503, "temporarily_unavailable"), "", refresh.ErrUnavailable, 503, 1},
		{"unavailable for 7 s", tokenError(503, "", "Retry-After", "7"), "", refresh.ErrUnavailable, 503, 7 * time.Second},
		{"too many", tokenError(429, "", "Retry-After", "9"), "", refresh.ErrUnavailable, 429, 9 * time.Second},
		{"until a date", tokenError(503, "", "Retry-After", time.Unix(1_800_000_020, 0).UTC().Format(http.TimeFormat)), "", refresh.ErrUnavailable, 503, 20 * time.Second},
		{"not JSON", tokenAnswer(`<html>`), "", refresh.ErrUnavailable, 200, 1},
		{"no token", tokenAnswer(`{"token_type":"Bearer"}`), "", refresh.ErrUnavailable, 200, 1},
		{"a token that breaks headers", tokenAnswer(`{"access_token":"a\r\nb"}`), "", refresh.ErrUnavailable, 200, 1},
		{"nobody listens", nil, "http://" + nobody, refresh.ErrUnavailable, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.token = tt.token
			config := w.config()
			if tt.url != "" {
				config.TokenURL = tt.url
			}
			c, transport := w.client(t, config)
			_, _, err := get(t, c, w.api.URL)
			var failed *refresh.Error
			if !errors.Is(err, tt.kind) || !errors.As(err, &failed) {
				t.Fatalf("got %v, want %v", err, tt.kind)
			}
			if failed.Status != tt.status || failed.RetryAfter < tt.wait {
				t.Errorf("got status %d and a wait of %s, want %d and at least %s", failed.Status, failed.RetryAfter, tt.status, tt.wait)
			}
			if got := transport.Tokens().Refresh; got != "r1" {
				t.Errorf("refresh token is %q, want r1 kept", got)
			}
			before := w.refreshes
			if _, _, err := get(t, c, w.api.URL); !errors.Is(err, tt.kind) {
				t.Errorf("during the pause: got %v, want %v", err, tt.kind)
			}
			if w.refreshes != before {
				t.Error("the issuer was asked again during the pause")
			}
			// After the pause it heals without help.
			w.advance(time.Minute)
			w.set(func() { w.token = nil; w.good = fmt.Sprintf("a%d", before+2) })
			if tt.url == "" {
				if status, _, err := get(t, c, w.api.URL); err != nil || status != 200 {
					t.Errorf("after the pause: got %d, %v; want 200", status, err)
				}
			}
		})
	}
}

func tokenAnswer(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

func TestPassedThrough(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		lines  []string
	}{
		{"401 without an error", 401, []string{`Bearer realm="api"`}},
		{"401 without a challenge", 401, nil},
		{"401 of another scheme", 401, []string{`DPoP error="invalid_token"`}},
		{"step-up", 401, []string{`Bearer error="insufficient_user_authentication", max_age="300"`}},
		{"step-up beside invalid_token", 401, []string{`Bearer error="invalid_token"`, `Bearer error="insufficient_user_authentication"`}},
		{"scope", 403, []string{`Bearer error="insufficient_scope", scope="x"`}},
		{"403 that says invalid_token", 403, []string{`Bearer error="invalid_token"`}},
		{"bad request", 400, []string{`Bearer error="invalid_request"`}},
		{"unavailable", 503, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.refused = challenge(tt.status, tt.lines...)
			c, _ := w.client(t, w.config())
			if status, _, err := get(t, c, w.api.URL); err != nil || status != tt.status {
				t.Errorf("got %d, %v; want %d", status, err, tt.status)
			}
			w.want(t, 1, 0)
		})
	}
}

func TestBodies(t *testing.T) {
	w := newWorld(t)
	c, _ := w.client(t, w.config())
	resp, err := c.Post(w.api.URL, "text/plain", strings.NewReader("again"))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(body) != "hello again" {
		t.Errorf("a body with GetBody: got %d %q, want it sent again", resp.StatusCode, body)
	}
	if resp.Request.Header.Get("Authorization") != "" {
		t.Error("the token can be seen in resp.Request")
	}

	w.set(func() { w.good = "a3" })
	resp, err = c.Post(w.api.URL, "text/plain", io.MultiReader(strings.NewReader("once")))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 401 {
		t.Errorf("a body without GetBody: got %d, want the 401", resp.StatusCode)
	}
	w.want(t, 3, 2)
	if status, _, err := get(t, c, w.api.URL); err != nil || status != 200 {
		t.Errorf("the next request: got %d, %v; want 200 with the new token", status, err)
	}
}
