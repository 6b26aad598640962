package issuer_test

import (
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

func (r *rig) introspect(client, token string) answer {
	return r.as(client, "/introspect", "token", token)
}

// inactive is the whole answer about anything else than a living token that the caller may see.
func (r *rig) inactive(what, client, token string) {
	r.t.Helper()
	if a := r.introspect(client, token); a.status != 200 || a.raw != "{\"active\":false}\n" {
		r.t.Errorf("%s: got %d %s, want exactly {\"active\":false}", what, a.status, a.raw)
	}
}

// TestS2_Introspection is RFC 7662.
func TestS2_Introspection(t *testing.T) {
	t.Parallel()
	c := &clock{}
	r := start(t, server(t).URL(), func(cfg *issuer.Config) {
		cfg.Clients, cfg.Now, cfg.MaxStaleness = gateways(), c.now, 24*time.Hour
		cfg.Clients = append(cfg.Clients, confidential("site", func(*issuer.Client) {}))
	})
	u := r.user("ann", "read")
	s := r.login("ann")
	for range 2 { // the second time from memory
		a := r.introspect("web", s.Access)
		r.want("a living token", a, 200, "")
		claims := claimsOf(t, s.Access)
		claims["active"], claims["token_type"], claims["nbf"] = true, "Bearer", claims["iat"]
		delete(claims, "gen") // nobody else's business
		if len(a.body) != len(claims) {
			t.Errorf("got the members %v, want %v", a.body, claims)
		}
		for name, want := range claims {
			if a.body[name] != want {
				t.Errorf("%s: got %v, want %v", name, a.body[name], want)
			}
		}
	}
	r.inactive("an API of another audience", "bank", s.Access)
	r.inactive("another client", "site", s.Access)
	r.inactive("nonsense", "web", "x")
	r.inactive("a broken signature", "web", s.Access[:len(s.Access)-4]+"AAAA")
	r.inactive("an unknown refresh token", "web", issuer.NewRefreshToken())
	r.inactive("another client's refresh token", "web", s.Refresh)
	own := r.as("job", "/token", "grant_type", credentials)
	if a := r.introspect("job", own.Access); a.body["active"] != true || a.body["sub"] != "client:job" || a.body["sid"] != nil {
		t.Errorf("its own token: got %s", a.raw)
	}
	for name, a := range map[string]answer{
		"nobody":       r.form("/introspect", "token", s.Access),
		"public":       r.form("/introspect", "token", s.Access, "client_id", "app"),
		"wrong secret": r.form("/introspect", "token", s.Access, "client_id", "web", "client_secret", "x"),
	} {
		r.want(name, a, 401, "invalid_client")
	}
	r.want("no token", r.as("web", "/introspect"), 400, "invalid_request")
	if a := r.do(r.request("GET", "/introspect?token="+s.Access, "", "")); a.status != 405 {
		t.Errorf("GET: got %d, want 405", a.status)
	}

	admin := func(scope events.Scope, key string) {
		t.Helper()
		if _, err := r.Revoke(within(t), events.Revocation{Scope: scope, Key: key}); err != nil {
			t.Fatal(err)
		}
	}
	live := func() answer {
		t.Helper()
		s := r.login("ann")
		if a := r.introspect("web", s.Access); a.body["active"] != true {
			t.Fatalf("a new token: got %s", a.raw)
		}
		return s
	}
	s = live()
	r.want("revoke the token", r.form("/revoke", "token", s.Access), 200, "")
	r.inactive("a revoked token", "web", s.Access)
	s = live()
	r.want("logout", r.bearer("/logout", s.Access, ""), 200, "")
	r.inactive("a session that ended", "web", s.Access)
	s = live()
	admin(events.Subject, u.Sub)
	r.inactive("a revoked subject", "web", s.Access)
	s = live()
	admin(events.Client, "app")
	r.inactive("a revoked client", "web", s.Access)
	s = live()
	admin(events.Key, issuer.KeyID(r.Issuer, s.Access))
	r.inactive("a revoked key", "web", s.Access)
	s = live()
	r.advance(c, 11*time.Minute)
	r.inactive("an expired token", "web", s.Access)
}

// TestS2_RefreshToken: a client may ask about its own, and asking uses nothing up.
func TestS2_RefreshToken(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL(), func(cfg *issuer.Config) {
		cfg.Clients = []issuer.Client{confidential("site", func(*issuer.Client) {}), confidential("web", func(*issuer.Client) {})}
	})
	u := r.user("ann", "read")
	login := func() answer {
		t.Helper()
		req := r.request("POST", "/login", jsonType, `{"username":"ann","password":"`+password+`"}`)
		req.SetBasicAuth("site", "secret of site")
		a := r.do(req)
		r.want("login", a, 200, "")
		return a
	}
	s := login()
	a := r.introspect("site", s.Refresh)
	if a.body["active"] != true || a.body["client_id"] != "site" || a.body["sub"] != u.Sub || a.body["sid"] != s.Sid || a.body["scope"] != "read" || a.body["token_type"] != nil {
		t.Errorf("got %s", a.raw)
	}
	r.inactive("of another client", "web", s.Refresh)
	next := r.as("site", "/token", "grant_type", "refresh_token", "refresh_token", s.Refresh)
	r.want("refresh after asking", next, 200, "")
	r.inactive("a used one", "site", s.Refresh)
	if a := r.introspect("site", next.Refresh); a.body["active"] != true {
		t.Errorf("asking about a used one: got %s about the new one, want it alive", a.raw)
	}
	if err := r.Disable(within(t), u.Sub, issuer.Cause{}); err != nil {
		t.Fatal(err)
	}
	r.inactive("of a disabled user", "site", next.Refresh)
}

// TestS2_Stale: what cannot be known is not said, although the token was seen before.
func TestS2_Stale(t *testing.T) {
	t.Parallel()
	nats, c := server(t), &clock{}
	r := start(t, nats.URL(), func(cfg *issuer.Config) { cfg.Clients, cfg.Now, cfg.MaxStaleness = gateways(), c.now, 5*time.Minute })
	r.user("ann")
	s := r.login("ann")
	r.want("fresh", r.introspect("web", s.Access), 200, "")
	nats.Stop()
	c.advance(6 * time.Minute) // in which nothing is heard
	a := r.introspect("web", s.Access)
	r.want("stale", a, 503, "temporarily_unavailable")
	if a.header.Get("Retry-After") == "" {
		t.Error("got no Retry-After")
	}
}
