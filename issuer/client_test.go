package issuer_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/quash-auth/quash/issuer"
)

// TestClientProblems: each is refused at the start, and the error names the field.
func TestClientProblems(t *testing.T) {
	public := func(change func(*issuer.Client)) issuer.Client {
		c := issuer.Client{ID: "app", Public: true}
		change(&c)
		return c
	}
	code := func(uri string) issuer.Client {
		return public(func(c *issuer.Client) {
			c.Grants, c.RedirectURIs = []string{issuer.GrantAuthorizationCode}, []string{uri}
		})
	}
	for _, tt := range []struct {
		name   string
		client issuer.Client
		field  string // empty: it is fine
	}{
		{"plain", public(func(*issuer.Client) {}), ""},
		{"https", code("https://app.example/cb?x=1"), ""},
		{"loopback name", code("http://localhost/cb"), ""},
		{"loopback address", code("http://127.0.0.1:9/cb"), ""},
		{"loopback IPv6", code("http://[::1]/cb"), ""},
		{"private use", code("com.example.app:/cb"), ""},
		{"private use without a dot", code("myapp:/cb"), "RedirectURIs"},
		{"javascript", code("javascript:alert(1)"), "RedirectURIs"},
		{"data", code("data:text/html,x"), "RedirectURIs"},
		{"http", code("http://app.example/cb"), "RedirectURIs"},
		{"http that looks local", code("http://localhost.example/cb"), "RedirectURIs"},
		{"relative", code("/cb"), "RedirectURIs"},
		{"no host", code("https:///cb"), "RedirectURIs"},
		{"fragment", code("https://app.example/cb#x"), "RedirectURIs"},
		{"empty fragment", code("https://app.example/cb#"), "RedirectURIs"},
		{"wildcard", code("https://*.app.example/cb"), "RedirectURIs"},
		{"user", code("https://app.example@evil.example/cb"), "RedirectURIs"},
		{"backslash", code(`https://app.example\@evil.example/cb`), "RedirectURIs"},
		{"line break", code("https://app.example/\r\ncb"), "RedirectURIs"},
		{"code without a place to go", public(func(c *issuer.Client) { c.Grants = []string{issuer.GrantAuthorizationCode} }), "RedirectURIs"},
		{"unknown grant", public(func(c *issuer.Client) { c.Grants = []string{"password"} }), "Grants"},
		{"grant twice", public(func(c *issuer.Client) { c.Grants = []string{issuer.GrantLogin, issuer.GrantLogin} }), "Grants"},
		{"public credentials", public(func(c *issuer.Client) { c.Grants = []string{issuer.GrantClientCredentials} }), "Grants"},
		{"public exchange", public(func(c *issuer.Client) { c.Grants = []string{issuer.GrantTokenExchange} }), "Grants"},
		{"public introspection", public(func(c *issuer.Client) { c.Introspects = []string{"api"} }), "Introspects"},
		{"name", public(func(c *issuer.Client) { c.Name = "a\x00b" }), "Name"},
		{"no secret", issuer.Client{ID: "web"}, "SecretHash"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			problem := issuer.ClientProblem(tt.client)
			if tt.field == "" && problem != "" || tt.field != "" && !strings.Contains(problem, tt.field) {
				t.Errorf("got %q, want %q to be named", problem, tt.field)
			}
		})
	}
}

// TestGrants: a client may do what is listed, and login and refresh if nothing is.
func TestGrants(t *testing.T) {
	r := start(t, server(t).URL(), func(c *issuer.Config) {
		c.Clients = []issuer.Client{
			{ID: "app", Public: true},
			{ID: "short", Public: true, Grants: []string{issuer.GrantLogin}},
			{ID: "code", Public: true, Grants: []string{issuer.GrantAuthorizationCode, issuer.GrantRefresh}, RedirectURIs: []string{"https://app.example/cb"}},
			{ID: "off", Public: true, Disabled: true},
		}
	})
	r.user("ann")
	login := func(client string) answer {
		return r.do(r.request("POST", "/login", jsonType, `{"username":"ann","password":"`+password+`","client_id":"`+client+`"}`))
	}
	if a := login("app"); a.status != 200 || a.Refresh == "" {
		t.Errorf("app: got %d %s, want both tokens", a.status, a.raw)
	}
	if a := login("short"); a.status != 200 || a.Access == "" || strings.Contains(a.raw, "refresh_token") {
		t.Errorf("short: got %d %s, want no refresh token", a.status, a.raw)
	}
	r.want("code", login("code"), 400, "unauthorized_client")
	r.want("off", login("off"), 400, "invalid_client")
	r.want("off, refresh", r.form("/token", "grant_type", "refresh_token", "client_id", "off", "refresh_token", "x"), 400, "invalid_client")
}

// TestLoginDefault: the first client is nobody's default if it may not log people in.
func TestLoginDefault(t *testing.T) {
	nats := server(t)
	for name, first := range map[string]issuer.Client{
		"confidential": {ID: "first", SecretHash: issuer.HashSecret("x")},
		"disabled":     {ID: "first", Public: true, Disabled: true},
		"no login":     {ID: "first", Public: true, Grants: []string{issuer.GrantRefresh}},
	} {
		r := start(t, nats.URL(), func(c *issuer.Config) { c.Clients = []issuer.Client{first, {ID: "app", Public: true}} })
		r.want(name, r.tryLogin("ann", password), 400, "invalid_client")
	}
}

// TestClientSubject: no user is taken for a client.
func TestClientSubject(t *testing.T) {
	r := start(t, server(t).URL())
	if _, err := r.Users().Create(within(t), issuer.User{Sub: "client:app", Name: "ann"}); !errors.Is(err, issuer.ErrUser) {
		t.Errorf("got %v, want ErrUser", err)
	}
}
