package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quash-auth/quash/issuer"
	"github.com/quash-auth/quash/verifier/refresh"
)

// tally counts what goes over the wire below a client's RoundTripper.
type tally struct {
	refreshes, refused, served atomic.Int32
	slowest                    atomic.Int64 // nanoseconds that one of them took
	token                      string       // URL of the token endpoint
}

func (c *tally) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.String() == c.token {
		c.refreshes.Add(1)
	}
	began := time.Now()
	resp, err := http.DefaultTransport.RoundTrip(req)
	c.took(time.Since(began))
	switch {
	case err != nil || req.URL.String() == c.token:
	case resp.StatusCode == http.StatusUnauthorized:
		c.refused.Add(1)
	case resp.StatusCode == http.StatusOK:
		c.served.Add(1)
	}
	return resp, err
}

func (c *tally) took(d time.Duration) {
	for old := c.slowest.Load(); int64(d) > old && !c.slowest.CompareAndSwap(old, int64(d)); old = c.slowest.Load() {
	}
}

// shipped is the RoundTripper that we ship, with a session of this world, and what it sends.
func (w *world) shipped(s session, change func(*refresh.Config)) (*http.Client, *refresh.Transport, *tally) {
	w.t.Helper()
	wire := &tally{token: w.url + "/token"}
	c := refresh.Config{
		TokenURL: wire.token, ClientID: demoClientID, Base: wire,
		Tokens: refresh.Tokens{Access: s.Access, Refresh: s.Refresh},
		Save: func(t refresh.Tokens) error {
			if t.Access != "" {
				w.secret("access token", t.Access)
			}
			if t.Refresh != "" {
				w.secret("refresh token", t.Refresh)
			}
			return nil
		},
	}
	if s.seconds("expires_in") > 0 {
		c.Tokens.Expires = time.Unix(instantOf(w.t, s.Access, "exp"), 0) // and not in expires_in from now: some time has passed since the login
	}
	for k := range w.nodes {
		c.Origins = append(c.Origins, w.node(k))
	}
	if change != nil {
		change(&c)
	}
	transport, err := refresh.New(c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(transport.Wait)
	return &http.Client{Transport: transport, Timeout: patience}, transport, wire
}

// fetch is GET /secure of a node with a client, again while the node cannot judge.
func (w *world) fetch(c *http.Client, node int) (status int, err error) {
	w.t.Helper()
	w.eventually("the node can judge", func() bool { status, err = w.fetchOnce(c, node); return err != nil || status != 503 })
	return status, err
}

func (w *world) fetchOnce(c *http.Client, node int) (int, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, w.node(node)+"/secure", nil)
	if err != nil {
		return 0, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// registryOf writes a registry of clients with the default one and these.
func registryOf(t *testing.T, entries ...string) string {
	t.Helper()
	text := `{"clients": [{"client_id": "quash", "public": true}`
	for _, e := range entries {
		text += ", " + e
	}
	file := filepath.Join(t.TempDir(), "clients.json")
	if err := os.WriteFile(file, []byte(text+"]}"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// keepsAlive sends requests for more than two lives of a token; none may be refused. It gives false if the machine stood still for so
// long that a token's end went by unseen; the last time that is no excuse.
func (w *world) keepsAlive(name string, s session, change func(*refresh.Config), life, early time.Duration, last bool) bool {
	client, _, wire := w.shipped(s, change)
	var out atomic.Int32 // requests whose 401 reached the caller
	began, round := time.Now(), time.Now()
	for time.Since(began) < 2*life+time.Second {
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				switch status, err := w.fetch(client, 0); {
				case err == nil && status == 401:
					out.Add(1)
				case err != nil || status != 200:
					w.t.Errorf("%s: got %d, %v; want 200", name, status, err)
				}
			})
		}
		all.Wait()
		<-time.After(100 * time.Millisecond) // a client is not always busy
		wire.took(time.Since(round))
		round = time.Now()
	}
	lived := time.Since(began)
	slowest := time.Duration(wire.slowest.Load())
	if n := wire.refused.Load(); n != 0 {
		if slowest > early/3 && !last {
			w.t.Logf("%s: something took %v, and %d of its requests were answered 401: once more", name, slowest, n)
			return false
		}
		w.t.Errorf("%s: %d of its requests were answered 401, want none; %d of these 401 came to the caller", name, n, out.Load())
	}
	// One for each time that Early began, which is in whole seconds.
	if n, most := wire.refreshes.Load(), int32(lived/(life-early-time.Second))+2; n < 2 || n > most {
		w.t.Errorf("%s: %d requests for tokens in %v, want 2 to %d", name, n, lived, most)
	}
	return true
}

// TestSituation6_KeepAliveWithoutEndpoint: nobody calls anything to stay logged in. A client with a refresh token acts
// before expiry and never sees a 401; a client without one takes the next token from a header, as long as it lives.
func TestSituation6_KeepAliveWithoutEndpoint(t *testing.T) {
	t.Parallel()
	const life, early = 5 * time.Second, 3 * time.Second
	secret := issuer.NewSecret()
	robot := issuer.NewSecret()
	registry := registryOf(t,
		fmt.Sprintf(`{"client_id": "gateway", "client_secret_hash": %q, "grant_types": [%q], "introspects": ["api"]}`, issuer.HashSecret(secret), issuer.GrantTokenExchange),
		fmt.Sprintf(`{"client_id": "robot", "client_secret_hash": %q, "grant_types": ["client_credentials"], "scope": "read"}`, issuer.HashSecret(robot)))
	w := newWorld(t, withIssuer("--clients", registry, "--access-life", life.String()),
		withNode("--leeway", "0s"), withNode("--leeway", "0s", "--renew-client", "gateway:"+secret))
	w.secret("client secret", robot)

	// (a) 20 requests at a time over more than two lives of a token: a user's client, and a machine's.
	var clients sync.WaitGroup
	for name, c := range map[string]func(*refresh.Config){
		"a user's client": func(c *refresh.Config) { c.Early = early },
		"a machine client": func(c *refresh.Config) {
			c.Early, c.Machine, c.ClientID, c.ClientSecret, c.Tokens = early, true, "robot", robot, refresh.Tokens{}
		},
	} {
		first := w.login("ann")
		clients.Go(func() {
			for try := 1; !w.keepsAlive(name, first, c, life, early, try == 5); try++ {
				first = w.login("ann")
			}
		})
	}
	clients.Wait()

	// (b) A bare client that knows nothing but the header. It outlives its first token twice.
	s := w.login("bob")
	token, renewals, asked := s.Access, 0, time.Now()
	first, err := claimsOf(token)
	if err != nil {
		t.Fatal(err)
	}
	pulse := w.login("ann") // waits with an issuer that stands still
	for renewals < 4 {
		pulse = w.refresh(pulse)
		before := asked
		asked = time.Now()
		r := w.call(1, token)
		if r.status == 401 && time.Since(before) > life/4 { // the machine stood still, and the token's life went by
			s = w.login("bob")
			if first, err = claimsOf(s.Access); err != nil {
				t.Fatal(err)
			}
			token, renewals = s.Access, 0
			continue
		}
		if r.status != 200 {
			t.Fatalf("after %d renewals: %s", renewals, r)
		}
		if next := r.header.Get("Quash-Access-Token"); next != "" {
			w.secret("access token", next)
			if r.header.Get("Cache-Control") != "no-store" || r.header.Get("Quash-Expires-In") == "" {
				t.Errorf("the answer with a token has headers %v", r.header)
			}
			c, err := claimsOf(next)
			if err != nil || c.Sid != first.Sid || c.Sub != first.Sub {
				t.Fatalf("the next token is of session %s, want %s: %v", c.Sid, first.Sid, err)
			}
			token, renewals = next, renewals+1
		}
		<-time.After(100 * time.Millisecond)
	}
	w.wants(1, s.Access, 401) // the first token lived no longer than it said
	if r := w.call(0, token); r.header.Get("Quash-Access-Token") != "" {
		t.Error("a node without --renew-client renews")
	}
	// Its session ends: so does the chain, at once.
	if r := w.json("POST", "/admin/revocations", w.admin(), `{"scope":"session","key":"`+first.Sid+`","reason":"stolen"}`); r.status != 200 {
		t.Fatalf("revoke: %s", r)
	}
	w.wants(1, token, 401)
	if r := w.call(1, token); r.header.Get("Quash-Access-Token") != "" {
		t.Error("a revoked token is renewed")
	}

	// A machine that is disabled is out: no new token, and the old one is refused.
	client, transport, _ := w.shipped(w.login("ann"), func(c *refresh.Config) {
		c.Machine, c.ClientID, c.ClientSecret, c.Tokens = true, "robot", robot, refresh.Tokens{}
	})
	if status, err := w.fetch(client, 0); err != nil || status != 200 {
		t.Fatalf("the machine: got %d, %v", status, err)
	}
	last := transport.Tokens().Access
	off := fmt.Sprintf(`{"clients": [{"client_id": "quash", "public": true}, {"client_id": "robot", "disabled": true, "client_secret_hash": %q, "grant_types": ["client_credentials"], "scope": "read"}]}`, issuer.HashSecret(robot))
	if err := os.WriteFile(registry, []byte(off), 0o600); err != nil {
		t.Fatal(err)
	}
	w.wants(0, last, 401)
	w.eventually("the machine is out", func() bool {
		_, err := w.fetch(client, 0)
		return errors.Is(err, refresh.ErrClient)
	})
}
