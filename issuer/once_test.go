package issuer_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// once is POST /admin/one-time with name, value pairs.
func (r *rig) once(token string, pairs ...any) answer {
	r.t.Helper()
	return r.send("POST", "/admin/one-time", token, pairsOf(pairs))
}

func TestMintOnce(t *testing.T) {
	t.Parallel()
	var l logs
	r := start(t, server(t).URL(), func(c *issuer.Config) { c.Logger = l.logger() })
	root, ann := r.user("root", issuer.ScopeAdmin), r.user("ann", "read")
	admin := r.login("root").Access
	a := r.once(admin, "username", "ANN", "scope", "password:reset", "expires_in", 300, "reason", "forgotten", "txn", "t-1")
	r.want("mint", a, 200, "")
	if a.Type != "Bearer" || a.ExpiresIn < 295 || a.ExpiresIn > 300 || a.body["scope"] != "password:reset" || a.body["txn"] != "t-1" || a.Refresh != "" {
		t.Errorf("got %v, want a bearer token of 300 s", a.raw)
	}
	c := claims(t, a.Access)
	if c["once"] != true || c["sub"] != ann.Sub || c["jti"] != a.body["jti"] || c["client_id"] != "quash" || c["scope"] != "password:reset" || c["aud"] != "https://api.example" {
		t.Errorf("got claims %v", c)
	}
	for _, name := range []string{"sid", "auth_time"} {
		if v, there := c[name]; there {
			t.Errorf("got %s %v: the token belongs to no session and nobody showed a password for it", name, v)
		}
	}
	if life := c["exp"].(float64) - c["iat"].(float64); life != 300 {
		t.Errorf("got a life of %v s, want 300", life)
	}
	if _, there := c["gen"]; !there {
		t.Error("it has no gen: revoking the user would leave it alive")
	}
	other := r.once(admin, "sub", ann.Sub, "scope", "a b", "audience", []string{"one", "two"})
	r.want("other audiences", other, 200, "")
	if c := claims(t, other.Access); fmt.Sprint(c["aud"]) != "[one two]" || c["scope"] != "a b" || c["exp"].(float64)-c["iat"].(float64) != 600 {
		t.Errorf("got claims %v, want both audiences and ten minutes", c)
	}
	r.want("without a scope", r.once(admin, "username", "ann"), 400, "invalid_request")
	r.want("for nobody", r.once(admin, "username", "nobody", "scope", "a"), 404, "invalid_request")
	if got := r.Stats().OnceMinted; got != 2 {
		t.Errorf("%d tokens are counted, want the 2 that were given out", got)
	}
	out := l.String()
	for _, want := range []string{`"one-time token minted"`, a.body["jti"].(string), ann.Sub, root.Sub, "forgotten", "t-1", "password:reset"} {
		if !strings.Contains(out, want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	if strings.Contains(out, a.Access) {
		t.Error("the token is in the log")
	}
}

// The issuer's own endpoints take no one-time token: looking at it would not use it up.
func TestOnceOpensNothingAtTheIssuer(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL())
	r.user("root", issuer.ScopeAdmin)
	u := r.user("ann")
	admin := r.login("root").Access
	a := r.once(admin, "username", "ann", "scope", "openid")
	r.want("mint", a, 200, "")
	r.dead("one-time token", a.Access)
	for _, path := range []string{"/logout", "/logout-all", "/userinfo", "/admin/one-time", "/admin/revocations"} {
		if got := r.bearer(path, a.Access, "{}"); got.status != 401 || got.Error != "invalid_token" {
			t.Errorf("%s: got %d %s, want 401 invalid_token", path, got.status, got.raw)
		}
	}
	// But it can be revoked, by its client and by an operator.
	before := r.published(events.Token, a.body["jti"].(string))
	r.want("revoke", r.form("/revoke", "token", a.Access), 200, "")
	if n := r.published(events.Token, a.body["jti"].(string)); n != before+1 {
		t.Errorf("%d statements about it, want 1", n)
	}
	b := r.once(admin, "username", "ann", "scope", "x", "audience", "elsewhere")
	r.want("revoke one for another audience", r.form("/revoke", "token", b.Access), 200, "")
	if n := r.published(events.Token, b.body["jti"].(string)); n != 1 {
		t.Errorf("%d statements about it, want 1", n)
	}
	c := r.once(admin, "username", "ann", "scope", "x")
	if issuer.CoveredOnce(r.Issuer, c.Access) {
		t.Fatal("revoked before anything happened")
	}
	r.want("revoke the user", r.revoke(admin, "subject", u.Sub), 200, "")
	until(t, "the token dies with the user", func() bool { return issuer.CoveredOnce(r.Issuer, c.Access) })
	d := r.once(admin, "username", "ann", "scope", "x")
	r.want("mint after that", d, 200, "")
	if issuer.CoveredOnce(r.Issuer, d.Access) {
		t.Error("a token that was minted after the revocation is covered by it")
	}
}

func TestMintOnceRefuses(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL(), func(c *issuer.Config) {
		c.Clients = []issuer.Client{{ID: "quash", Public: true},
			{ID: "mailer", Public: true, Scopes: []string{issuer.ScopeOnce, "password:reset"}, Audience: []string{"https://api.example", "https://mail.example"}},
			{ID: "open", Public: true}}
	})
	r.user("root", issuer.ScopeAdmin)
	r.user("postman", issuer.ScopeOnce, "read")
	gone := r.user("gone")
	ann := r.user("ann", "read")
	if err := r.Disable(within(t), gone.Sub, issuer.Cause{}); err != nil {
		t.Fatal(err)
	}
	admin := r.login("root").Access
	for _, tt := range []struct {
		body   []any
		status int
		want   string
	}{
		{[]any{"scope", "x"}, 400, "sub or username is required"},
		{[]any{"sub", ann.Sub, "username", "ann", "scope", "x"}, 400, "one of them"},
		{[]any{"username", "ann"}, 400, "scope: is required"},
		{[]any{"username", "ann", "scope", " "}, 400, "scope: is required"},
		{[]any{"username", "ann", "scope", "x quash.admin"}, 400, "scope: has a value that begins with quash."},
		{[]any{"username", "ann", "scope", "x x"}, 400, "scope: repeats"},
		{[]any{"username", "ann", "scope", `a"b`}, 400, "scope: has a value that is not a scope token"},
		{[]any{"username", "ann", "scope", []string{"x"}}, 400, "scope: must be a string"},
		{[]any{"username", "ann", "scope", "x", "audience", []string{""}}, 400, "audience: has an empty member"},
		{[]any{"username", "ann", "scope", "x", "audience", 1}, 400, "audience: must be"},
		{[]any{"username", "ann", "scope", "x", "expires_in", 0}, 400, "expires_in: must be"},
		{[]any{"username", "ann", "scope", "x", "expires_in", 3601}, 400, "expires_in: must be"},
		{[]any{"username", "ann", "scope", "x", "expires_in", 1.5}, 400, "expires_in: must be"},
		{[]any{"username", "ann", "scope", "x", "reason", strings.Repeat("x", 2000)}, 400, "reason: is longer"},
		{[]any{"username", "ann", "scope", "x", "other", 1}, 400, "unknown member"},
		{[]any{"username", "nobody", "scope", "x"}, 404, "no such user"},
		{[]any{"sub", "nobody", "scope", "x"}, 404, "no such user"},
		{[]any{"sub", "not a sub", "scope", "x"}, 400, "sub: "},
		{[]any{"username", "gone", "scope", "x"}, 403, "disabled"},
	} {
		if a := r.once(admin, tt.body...); a.status != tt.status || !strings.Contains(a.Description, tt.want) || a.Access != "" {
			t.Errorf("%v: got %d %q, want %d %q", tt.body, a.status, a.Description, tt.status, tt.want)
		}
	}
	r.want("without a token", r.do(r.request("POST", "/admin/one-time", jsonType, `{"username":"ann","scope":"x"}`)), 401, "invalid_token")
	r.want("with too little scope", r.once(r.loginAt("open").Access, "username", "ann", "scope", "x"), 403, "insufficient_scope")

	// quash.once mints what is listed for its client.
	body, _ := json.Marshal(map[string]string{"username": "postman", "password": password, "client_id": "mailer"})
	postman := r.do(r.request("POST", "/login", jsonType, string(body)))
	r.want("login", postman, 200, "")
	for _, tt := range []struct {
		body   []any
		status int
		code   string
	}{
		{[]any{"username", "ann", "scope", "password:reset"}, 200, ""},
		{[]any{"username", "ann", "scope", "password:reset", "audience", "https://mail.example"}, 200, ""},
		{[]any{"username", "ann", "scope", "password:reset", "audience", []string{"https://mail.example", "other"}}, 400, "invalid_target"},
		{[]any{"username", "ann", "scope", "read"}, 400, "invalid_scope"},
		{[]any{"username", "ann", "scope", "password:reset read"}, 400, "invalid_scope"},
		{[]any{"username", "ann", "scope", issuer.ScopeOnce}, 400, "invalid_request"},
	} {
		r.want(fmt.Sprint(tt.body), r.once(postman.Access, tt.body...), tt.status, tt.code)
	}
	r.want("quash.once is not quash.revoke", r.revoke(postman.Access, "session", "x"), 403, "insufficient_scope")
	// A client that lists nothing has nothing to give.
	body, _ = json.Marshal(map[string]string{"username": "postman", "password": password, "client_id": "open"})
	through := r.do(r.request("POST", "/login", jsonType, string(body)))
	r.want("through a client without scopes", r.once(through.Access, "username", "ann", "scope", "read"), 400, "invalid_scope")
}

func TestMintOnceInGo(t *testing.T) {
	t.Parallel()
	s := server(t)
	r := start(t, s.URL(), func(c *issuer.Config) { c.Retention = events.Retention{MaxTokenLife: 20 * time.Minute} })
	ann := r.user("ann")
	good := issuer.Once{Subject: ann.Sub, Client: "quash", Scope: []string{"x"}}
	m, err := r.MintOnce(within(t), good)
	if err != nil || m.ID == "" || time.Until(m.Expires) > 10*time.Minute {
		t.Fatalf("got %v, %v, want a token of ten minutes", m, err)
	}
	for what, change := range map[string]func(*issuer.Once){
		"longer than revocations are kept": func(o *issuer.Once) { o.Life = 21 * time.Minute },
		"negative life":                    func(o *issuer.Once) { o.Life = -time.Second },
		"unknown client":                   func(o *issuer.Once) { o.Client = "x" },
	} {
		o := good
		change(&o)
		if _, err := r.MintOnce(within(t), o); !errors.Is(err, issuer.ErrOnce) {
			t.Errorf("%s: got %v, want ErrOnce", what, err)
		}
	}
	js, err := jetstream.New(r.cfg.Conn)
	if err != nil {
		t.Fatal(err)
	}
	if l, err := events.CheckOnce(within(t), js); err != nil || l.Retention.MaxTokenLife != 20*time.Minute {
		t.Errorf("the stream of used tokens: got %+v, %v, want one for tokens of 20 minutes", l, err)
	}
}
