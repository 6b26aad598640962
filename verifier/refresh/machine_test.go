package refresh_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/quash-auth/quash/verifier/refresh"
)

func (w *world) machine() refresh.Config {
	c := w.config()
	c.Machine, c.ClientSecret, c.Tokens = true, "s3cret", refresh.Tokens{}
	return c
}

func TestMachineGetsItsTokensItself(t *testing.T) {
	w := newWorld(t)
	config := w.machine()
	config.Scope = []string{"read", "write"}
	var basic bool
	w.token = func(rw http.ResponseWriter, r *http.Request) {
		id, secret, ok := r.BasicAuth()
		w.set(func() { basic = ok && id == "app" && secret == "s3cret" })
		fmt.Fprint(rw, `{"access_token":"a2","token_type":"Bearer","expires_in":600,"refresh_token":"never used"}`)
	}
	c, transport := w.client(t, config)
	for range 3 {
		if status, _, err := get(t, c, w.api.URL); err != nil || status != 200 {
			t.Fatalf("got %d, %v; want 200", status, err)
		}
	}
	w.want(t, 3, 1)
	form, err := url.ParseQuery(w.forms[0])
	if err != nil || form.Get("grant_type") != "client_credentials" || form.Get("scope") != "read write" || form.Has("refresh_token") || !basic {
		t.Errorf("sent %v with Basic %v, want client_credentials for both scopes", form, basic)
	}
	if got := transport.Tokens(); got.Access != "a2" || got.Refresh != "" {
		t.Errorf("holds %+v, want an access token and no refresh token", got)
	}
}

func TestMachineRenewsOnceAndIsOut(t *testing.T) {
	w := newWorld(t)
	c, _ := w.client(t, w.machine())
	if status, _, err := get(t, c, w.api.URL); err != nil || status != 200 {
		t.Fatalf("got %d, %v; want 200", status, err)
	}
	// Its token is revoked: one new one for all.
	w.set(func() { w.good = "a3" })
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if status, _, err := get(t, c, w.api.URL); err != nil || status != 200 {
				t.Errorf("got %d, %v; want 200", status, err)
			}
		})
	}
	all.Wait()
	if w.refreshes != 2 {
		t.Errorf("%d requests for tokens, want 2", w.refreshes)
	}
	// The client is disabled: the API refuses its token and the issuer its secret.
	w.set(func() { w.good, w.token = "none", tokenError(401, "invalid_client") })
	for range 3 {
		if _, _, err := get(t, c, w.api.URL); !errors.Is(err, refresh.ErrClient) {
			t.Fatalf("a disabled client: got %v, want ErrClient", err)
		}
	}
	if w.refreshes != 3 {
		t.Errorf("%d requests for tokens, want 3: it must not hammer the issuer", w.refreshes)
	}
	// And enabled again.
	w.advance(time.Minute)
	w.set(func() { w.good, w.token = "a5", nil })
	if status, _, err := get(t, c, w.api.URL); err != nil || status != 200 {
		t.Errorf("enabled again: got %d, %v; want 200", status, err)
	}
}

func TestMachineConfig(t *testing.T) {
	w := newWorld(t)
	for what, change := range map[string]func(*refresh.Config){
		"no secret":               func(c *refresh.Config) { c.ClientSecret = "" },
		"a scope without Machine": func(c *refresh.Config) { c.Machine, c.Scope = false, []string{"x"} },
	} {
		c := w.machine()
		change(&c)
		if _, err := refresh.New(c); !errors.Is(err, refresh.ErrConfig) {
			t.Errorf("%s: got %v, want ErrConfig", what, err)
		}
	}
}

// A client that acts before expiry never sees a 401, and refreshes once for each expiry however many requests it has
// at the same time.
func TestEarlyNeverSees401(t *testing.T) {
	const life, step, early = 600 * time.Second, 23 * time.Second, time.Minute
	for _, machine := range []bool{false, true} {
		t.Run(fmt.Sprintf("machine %v", machine), func(t *testing.T) {
			w := newWorld(t)
			var mu sync.Mutex // guards what follows
			issued, expires, refreshed, refused := 1, map[string]time.Time{"Bearer a1": w.now.Add(life)}, map[string]int{}, 0
			config := w.config()
			if machine {
				config = w.machine()
			}
			config.Early, config.Tokens.Expires = early, w.now.Add(life)
			now := config.Now
			w.good = "none"
			w.refused = func(rw http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				if now().Before(expires[r.Header.Get("Authorization")]) {
					return // 200
				}
				refused++
				rw.WriteHeader(401)
			}
			w.token = func(rw http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				refreshed[w.forms[len(w.forms)-1]]++
				issued++
				expires[fmt.Sprintf("Bearer a%d", issued)] = now().Add(life)
				fmt.Fprintf(rw, `{"access_token":"a%d","token_type":"Bearer","expires_in":600,"refresh_token":"r%d"}`, issued, issued)
			}
			c, _ := w.client(t, config)
			lived := time.Duration(0)
			for ; lived < 3*life; lived += step {
				var all sync.WaitGroup
				for range 50 {
					all.Go(func() {
						if status, _, err := get(t, c, w.api.URL); err != nil || status != 200 {
							t.Errorf("after %v: got %d, %v; want 200", lived, status, err)
						}
					})
				}
				all.Wait()
				w.advance(step)
			}
			if refused != 0 {
				t.Errorf("%d answers were 401, want none", refused)
			}
			for form, n := range refreshed {
				if n != 1 && !machine {
					t.Errorf("one refresh token was used %d times: %s", n, form)
				}
			}
			// Early is a minute to 72 s before the end, seen at a step.
			least, most := int(lived/(life-early+step)), int(lived/(life-early*6/5))+1
			if w.refreshes < least || w.refreshes > most {
				t.Errorf("%d refreshes in %v, want %d to %d: one for each expiry", w.refreshes, lived, least, most)
			}
		})
	}
}
