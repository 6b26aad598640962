package issuer_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// as posts a form as a client that confidential made.
func (r *rig) as(client, path string, pairs ...string) answer {
	r.t.Helper()
	v := url.Values{}
	for n := 0; n < len(pairs); n += 2 {
		v.Set(pairs[n], pairs[n+1])
	}
	req := r.request("POST", path, formType, v.Encode())
	req.SetBasicAuth(client, "secret of "+client)
	return r.do(req)
}

func confidential(id string, change func(*issuer.Client)) issuer.Client {
	c := issuer.Client{ID: id, SecretHash: issuer.HashSecret("secret of " + id)}
	change(&c)
	return c
}

func job(scopes ...string) issuer.Client {
	return confidential("job", func(c *issuer.Client) { c.Grants, c.Scopes = []string{issuer.GrantClientCredentials}, scopes })
}

func claimsOf(t testing.TB, raw string) jwt.MapClaims {
	t.Helper()
	c := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(raw, c); err != nil {
		t.Fatal(err)
	}
	return c
}

const credentials = issuer.GrantClientCredentials

// TestClientCredentials is RFC 6749 §4.4.
func TestClientCredentials(t *testing.T) {
	r := start(t, server(t).URL(), func(c *issuer.Config) {
		c.Clients = []issuer.Client{
			{ID: "app", Public: true}, job("read", "write"),
			confidential("bare", func(c *issuer.Client) { c.Grants = []string{credentials} }),
			confidential("web", func(*issuer.Client) {}),
			confidential("a b:c", func(c *issuer.Client) { c.ID, c.Grants = "a%b:c", []string{credentials} }),
		}
	})
	a := r.as("job", "/token", "grant_type", credentials)
	r.want("all scopes", a, 200, "")
	if a.Type != "Bearer" || a.ExpiresIn != 600 || a.Scope != "read write" || a.Access == "" {
		t.Errorf("got %s", a.raw)
	}
	for _, member := range []string{"refresh_token", "sid", "session_expires_in", "idle_expires_in"} {
		if _, there := a.body[member]; there {
			t.Errorf("got a member %s, want none: there is no session", member)
		}
	}
	c := claimsOf(t, a.Access)
	if c["sub"] != "client:job" || c["client_id"] != "job" || c["scope"] != "read write" || c["jti"] == "" {
		t.Errorf("got claims %v", c)
	}
	for _, name := range []string{"sid", "gen", "auth_time"} {
		if _, there := c[name]; there {
			t.Errorf("got a claim %s, want none", name)
		}
	}
	r.alive("its own endpoints", a.Access)
	r.want("logout", r.bearer("/logout", a.Access, ""), 403, "insufficient_scope")

	some := r.as("job", "/token", "grant_type", credentials, "scope", "write admin")
	if some.Scope != "write" || claimsOf(t, some.Access)["scope"] != "write" {
		t.Errorf("some of the scopes: got %s", some.raw)
	}
	none := r.as("job", "/token", "grant_type", credentials, "scope", "admin")
	r.want("none of the scopes", none, 400, "invalid_scope")
	if said, _ := none.body["error_description"].(string); !strings.Contains(said, "ask for listed ones or for none") {
		t.Errorf("none of the scopes: got %q, which does not say what to do", said)
	}
	r.want("no scope token", r.as("job", "/token", "grant_type", credentials, "scope", `read "x"`), 400, "invalid_scope")
	bare := r.as("bare", "/token", "grant_type", credentials)
	if _, there := claimsOf(t, bare.Access)["scope"]; bare.status != 200 || there {
		t.Errorf("a client without scopes: got %s", bare.raw)
	}
	r.want("a client without scopes that asks", r.as("bare", "/token", "grant_type", credentials, "scope", "read"), 400, "invalid_scope")

	body := r.form("/token", "grant_type", credentials, "client_id", "job", "client_secret", "secret of job")
	r.want("credentials in the body", body, 200, "")
	for name, a := range map[string]answer{
		"wrong secret in the body": r.form("/token", "grant_type", credentials, "client_id", "job", "client_secret", "x"),
		"no secret":                r.form("/token", "grant_type", credentials, "client_id", "job"),
		"a secret without a name":  r.form("/token", "grant_type", credentials, "client_secret", "secret of job"),
		"nobody":                   r.form("/token", "grant_type", credentials),
		"public":                   r.form("/token", "grant_type", credentials, "client_id", "app"),
		"public with a secret":     r.form("/token", "grant_type", credentials, "client_id", "app", "client_secret", "x"),
		"unknown":                  r.as("stranger", "/token", "grant_type", credentials),
	} {
		status := 400 // RFC 6749 §5.2: 401 answers the header
		if name == "unknown" {
			status = 401
		}
		r.want(name, a, status, "invalid_client")
		if challenged := a.header.Get("WWW-Authenticate") != ""; challenged != (status == 401) {
			t.Errorf("%s: a challenge: %v, with status %d", name, challenged, status)
		}
	}
	bad := r.request("POST", "/token", formType, "grant_type="+credentials)
	bad.SetBasicAuth("job", "x")
	if a := r.do(bad); a.status != 401 || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("wrong secret in the header: got %d %q, want 401 and a challenge", a.status, a.header.Get("WWW-Authenticate"))
	}
	twice := r.request("POST", "/token", formType, "grant_type="+credentials+"&client_id=job&client_secret=secret+of+job")
	twice.SetBasicAuth("job", "secret of job")
	r.want("two ways at once", r.do(twice), 400, "invalid_request")
	r.want("not allowed", r.as("web", "/token", "grant_type", credentials), 400, "unauthorized_client")
	coded := r.request("POST", "/token", formType, "grant_type="+credentials)
	coded.SetBasicAuth("a%25b%3Ac", "secret+of+a+b%3Ac") // RFC 6749 §2.3.1
	r.want("an ID with a colon", r.do(coded), 200, "")
}

// TestClientAdmin: a program may operate, if its token says so, and is on record.
func TestClientAdmin(t *testing.T) {
	r := start(t, server(t).URL(), func(c *issuer.Config) {
		c.Clients = append([]issuer.Client{{ID: "app", Public: true}}, job(issuer.ScopeAdmin, "read"))
	})
	u := r.user("ann")
	s := r.login("ann")
	weak := r.as("job", "/token", "grant_type", credentials, "scope", "read")
	r.want("without the scope", r.revoke(weak.Access, "subject", u.Sub), 403, "insufficient_scope")
	r.want("with the scope", r.revoke(r.as("job", "/token", "grant_type", credentials).Access, "subject", u.Sub), 200, "")
	r.dead("the user's token", s.Access)
	if all := r.statements(); len(all) != 1 || all[0].Actor != "client:job" {
		t.Errorf("got %+v, want one statement by client:job", all)
	}
}

// TestClientTokenRevoked: each way to end a client's own tokens ends them and no others, and the next token is none of them.
func TestClientTokenRevoked(t *testing.T) {
	t.Parallel()
	nats := server(t)
	r := start(t, nats.URL(), func(c *issuer.Config) {
		c.Clients = []issuer.Client{{ID: "app", Public: true}, job("read"), confidential("other", func(c *issuer.Client) { c.Grants = job().Grants })}
	})
	b := startWith(t, nats.URL(), r.cfg)
	r.user("ann")
	s, foreign := r.login("ann"), r.as("other", "/token", "grant_type", credentials)
	for _, k := range []struct {
		scope events.Scope
		key   string
	}{{events.Client, "job"}, {events.Subject, "client:job"}} {
		old := r.as("job", "/token", "grant_type", credentials)
		ack, err := r.Revoke(within(t), events.Revocation{Scope: k.scope, Key: k.key})
		if err != nil {
			t.Fatal(err)
		}
		r.dead(k.scope.String(), old.Access)
		for _, on := range []*rig{r, b} {
			on.reaches(ack.Sequence)
			next := on.as("job", "/token", "grant_type", credentials)
			on.want("again", next, 200, "")
			r.alive("the next token", next.Access)
			b.alive("the next token, elsewhere", next.Access)
			r.dead(k.scope.String()+", afterwards", old.Access)
		}
		r.alive("a user's token", s.Access)
		r.alive("another client's token", foreign.Access)
	}
	old := r.as("job", "/token", "grant_type", credentials)
	r.want("RFC 7009", r.as("job", "/revoke", "token", old.Access), 200, "")
	r.dead("RFC 7009", old.Access)
}

// reaches waits until the replica has applied a sequence.
func (r *rig) reaches(sequence uint64) {
	r.t.Helper()
	until(r.t, "the statement arrived", func() bool { return r.Report().Sequence >= sequence })
}

const (
	exchangeGrant = issuer.GrantTokenExchange
	accessType    = "urn:ietf:params:oauth:token-type:access_token"
)

func (r *rig) exchangeToken(client, token string, more ...string) answer {
	r.t.Helper()
	pairs := append([]string{"grant_type", exchangeGrant, "subject_token", token, "subject_token_type", accessType}, more...)
	return r.as(client, "/token", pairs...)
}

func gateways() []issuer.Client {
	grant := []string{exchangeGrant}
	return []issuer.Client{
		{ID: "app", Public: true},
		confidential("gate", func(c *issuer.Client) { c.Grants, c.Introspects = grant, []string{"https://api.example"} }),
		confidential("bank", func(c *issuer.Client) { c.Grants, c.Introspects = grant, []string{"https://bank.example"} }),
		confidential("web", func(c *issuer.Client) { c.Introspects = []string{"https://api.example"} }),
		job("read"),
	}
}

// TestTokenExchange is RFC 8693 as far as it goes: the next token of the same session.
func TestTokenExchange(t *testing.T) {
	c := &clock{}
	r := start(t, server(t).URL(), func(cfg *issuer.Config) {
		cfg.Clients, cfg.Now, cfg.RefreshIdle, cfg.RefreshAbsolute = gateways(), c.now, time.Hour, 3*time.Hour
		cfg.MaxStaleness = 24 * time.Hour
	})
	r.user("ann", "read", "write")
	s := r.login("ann")
	r.advance(c, 9*time.Minute)
	a := r.exchangeToken("gate", s.Access)
	r.want("exchange", a, 200, "")
	if a.body["issued_token_type"] != accessType || a.Type != "Bearer" || a.Refresh != "" || a.Scope != "read write" || a.ExpiresIn != 600 || a.IdleEnds < 3590 {
		t.Errorf("got %s", a.raw)
	}
	was, now := claimsOf(t, s.Access), claimsOf(t, a.Access)
	for _, name := range []string{"iss", "sub", "aud", "client_id", "sid", "gen", "auth_time", "scope"} {
		if was[name] == nil || was[name] != now[name] {
			t.Errorf("%s: got %v, want %v as before", name, now[name], was[name])
		}
	}
	if was["jti"] == now["jti"] || now["exp"].(float64)-was["exp"].(float64) < 500 {
		t.Errorf("got %v after %v, want another token that lives longer", now, was)
	}
	r.alive("the new token", a.Access)
	if n, err := issuer.Rotations(within(t), r.Issuer, s.Sid); n != 0 || err != nil {
		t.Errorf("got %d rotations %v, want none", n, err)
	}
	less := r.exchangeToken("gate", a.Access, "scope", "read")
	if less.Scope != "read" {
		t.Errorf("less scope: got %s", less.raw)
	}
	r.want("more again", r.exchangeToken("gate", less.Access, "scope", "read write"), 400, "invalid_scope")
	r.want("for its audience", r.exchangeToken("gate", a.Access, "audience", "https://api.example"), 200, "")
	r.want("for another audience", r.exchangeToken("gate", a.Access, "resource", "https://bank.example"), 400, "invalid_target")

	r.want("an API of another audience", r.exchangeToken("bank", a.Access), 400, "invalid_request")
	r.want("no grant", r.exchangeToken("web", a.Access), 400, "unauthorized_client")
	r.want("public", r.form("/token", "grant_type", exchangeGrant, "client_id", "app", "subject_token", a.Access, "subject_token_type", accessType), 400, "invalid_client")
	own := r.as("job", "/token", "grant_type", credentials)
	r.want("a client's own token", r.exchangeToken("gate", own.Access), 400, "invalid_request")
	r.want("a refresh token", r.exchangeToken("gate", s.Refresh), 400, "invalid_request")
	r.want("nonsense", r.exchangeToken("gate", "x"), 400, "invalid_request")
	r.want("no type", r.as("gate", "/token", "grant_type", exchangeGrant, "subject_token", a.Access), 400, "invalid_request")
	r.want("another type", r.exchangeToken("gate", a.Access, "requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"), 400, "invalid_request")
	r.want("an actor", r.exchangeToken("gate", a.Access, "actor_token", "x"), 400, "invalid_request")

	r.advance(c, 2*time.Minute)
	r.want("expired", r.exchangeToken("gate", s.Access), 400, "invalid_request")
	a = r.exchangeToken("gate", a.Access)
	for range 14 { // beyond the idle time, by exchanges alone
		r.advance(c, 9*time.Minute)
		if a = r.exchangeToken("gate", a.Access); a.status != 200 {
			t.Fatalf("activity: got %d %s, want 200", a.status, a.raw)
		}
	}
	next := r.refresh(s.Refresh)
	r.want("the refresh token lives by activity", next, 200, "")
	for a.status == 200 && a.SessionEnds > 0 {
		r.advance(c, 5*time.Minute)
		a = r.exchangeToken("gate", a.Access)
	}
	if a.status != 400 {
		t.Errorf("beyond the absolute end: got %d %s, want 400", a.status, a.raw)
	}
	if end := claimsOf(t, s.Access)["auth_time"].(float64) + 3*3600; float64(c.now().Unix()) < end {
		t.Errorf("ended %v seconds too early", end-float64(c.now().Unix()))
	}
}

// TestTokenExchangeEnds: whatever ends the session ends the exchange and every token that came of it.
func TestTokenExchangeEnds(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL(), func(cfg *issuer.Config) { cfg.Clients = gateways() })
	u := r.user("ann")
	for name, end := range map[string]func(answer) error{
		"logout": func(s answer) error {
			_, err := r.Revoke(within(t), events.Revocation{Scope: events.Session, Key: s.Sid})
			return err
		},
		"subject": func(answer) error {
			_, err := r.Revoke(within(t), events.Revocation{Scope: events.Subject, Key: u.Sub})
			return err
		},
		"client": func(answer) error {
			_, err := r.Revoke(within(t), events.Revocation{Scope: events.Client, Key: "app"})
			return err
		},
		"disabled": func(answer) error {
			defer r.Enable(within(t), u.Sub) //nolint:errcheck // the next login tells
			return r.Disable(within(t), u.Sub, issuer.Cause{})
		},
	} {
		s := r.login("ann")
		derived := r.exchangeToken("gate", s.Access)
		r.want(name+": before", derived, 200, "")
		if err := end(s); err != nil {
			t.Fatal(err)
		}
		r.dead(name, derived.Access)
		r.want(name+": again", r.exchangeToken("gate", derived.Access), 400, "invalid_grant")
	}
	s := r.login("ann")
	r.want("one token", r.form("/revoke", "token", s.Access), 200, "")
	r.want("a revoked token of a living session", r.exchangeToken("gate", s.Access), 400, "invalid_grant")
	next := r.refresh(s.Refresh)
	r.want("that session", r.exchangeToken("gate", next.Access), 200, "")
}

// TestTokenExchangeWrites: a busy API does not write with every request.
func TestTokenExchangeWrites(t *testing.T) {
	c := &clock{}
	r := start(t, server(t).URL(), func(cfg *issuer.Config) { cfg.Clients, cfg.Now, cfg.MaxStaleness = gateways(), c.now, 24*time.Hour })
	r.user("ann")
	s := r.login("ann")
	var revisions []uint64
	for range 5 {
		for range 10 {
			r.want("exchange", r.exchangeToken("gate", s.Access), 200, "")
		}
		revision, err := issuer.SessionRevision(within(t), r.Issuer, s.Sid)
		if err != nil {
			t.Fatal(err)
		}
		revisions = append(revisions, revision)
		r.advance(c, 61*time.Second)
	}
	if n := len(slices.Compact(revisions)); n != 5 {
		t.Errorf("got %d versions of the record in 5 minutes of 10 exchanges each, want 5", n)
	}
}

// TestTokenExchangeIdle: a living token does not bring back a session that was idle for too long.
func TestTokenExchangeIdle(t *testing.T) {
	c := &stopped{at: time.Now()}
	r := start(t, server(t).URL(), func(cfg *issuer.Config) {
		cfg.Clients, cfg.Now, cfg.MaxStaleness, cfg.RefreshIdle = gateways(), c.now, 24*time.Hour, 10*time.Minute
	})
	r.user("ann")
	s := r.login("ann")
	r.set(c, c.now().Add(30*time.Second))
	a := r.exchangeToken("gate", s.Access) // too soon to be written down
	r.set(c, c.now().Add(9*time.Minute+45*time.Second))
	r.alive("the token", a.Access)
	r.want("the session", r.exchangeToken("gate", a.Access), 400, "invalid_grant")
}
