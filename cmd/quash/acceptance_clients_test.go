package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/issuer"
)

// registry is the clients file of a world; tests change it while the world runs.
type registry struct {
	t       testing.TB
	path    string
	clients map[string]map[string]any
	secrets map[string]string
}

func newRegistry(t testing.TB) *registry {
	return &registry{t: t, path: filepath.Join(t.TempDir(), "clients.json"), clients: map[string]map[string]any{}, secrets: map[string]string{}}
}

// add makes a confidential client, or with "public" true a public one.
func (r *registry) add(id string, members map[string]any) *registry {
	c := map[string]any{"client_id": id}
	if members["public"] != true {
		r.secrets[id] = issuer.NewSecret()
		c["client_secret_hash"] = issuer.HashSecret(r.secrets[id])
	}
	for name, v := range members {
		c[name] = v
	}
	r.clients[id] = c
	r.save()
	return r
}

func (r *registry) set(id, member string, v any) {
	r.clients[id][member] = v
	r.save()
}

func (r *registry) save() {
	r.t.Helper()
	list := []any{r.clients["app"]} // the first is the default of a login
	for id, c := range r.clients {
		if id != "app" {
			list = append(list, c)
		}
	}
	text, err := json.Marshal(map[string]any{"clients": list})
	if err == nil {
		err = os.WriteFile(r.path+".next", text, 0o600)
	}
	if err == nil {
		err = os.Rename(r.path+".next", r.path)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// as posts a form with the client's secret.
func (r *registry) as(f face, id, path string, pairs ...string) reply {
	return f.formAs(id, r.secrets[id], path, pairs...)
}

// token is a client's own.
func (r *registry) token(f face, id string) string {
	r.t.Helper()
	a := r.as(f, id, "/token", "grant_type", "client_credentials")
	if a.status != 200 {
		r.t.Fatalf("client credentials of %s: %s", id, a)
	}
	return a.text("access_token")
}

func credentialsGrant(scope string) map[string]any {
	return map[string]any{"grant_types": []string{"client_credentials"}, "scope": scope}
}

func wantReply(t testing.TB, what string, r reply, status int, code string) {
	t.Helper()
	if r.status != status || r.code() != code {
		t.Errorf("%s: got %s, want %d %q", what, r, status, code)
	}
}

// TestM7_Revocation is RFC 7009 against the running program: 200 means that the API nodes refuse it, whatever the hint said.
func TestM7_Revocation(t *testing.T) {
	t.Parallel()
	g := newRegistry(t).add("app", map[string]any{"public": true}).add("other", map[string]any{"public": true}).add("job", credentialsGrant("read"))
	w := newWorld(t, withReplicas(2), withIssuer("--clients", g.path))
	ok := func(what string, r reply) {
		t.Helper()
		wantReply(t, what, r, 200, "")
	}
	s := w.login("ann")
	ok("nonsense", w.form("/revoke", "token", "nonsense"))
	ok("a broken signature", w.form("/revoke", "token", s.Access[:len(s.Access)-6]+"AAAAAA"))
	wantReply(t, "no token", w.form("/revoke"), 400, "invalid_request")
	wantReply(t, "a foreign client, access token", w.form("/revoke", "token", s.Access, "client_id", "other"), 400, "unauthorized_client")
	wantReply(t, "a foreign client, refresh token", w.form("/revoke", "token", s.Refresh, "client_id", "other"), 400, "unauthorized_client")
	bad := w.formAs("job", "wrong secret", "/revoke", "token", s.Refresh)
	wantReply(t, "a bad client", bad, 401, "invalid_client")
	if !strings.HasPrefix(bad.header.Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("a bad client: got the challenge %q", bad.header.Get("WWW-Authenticate"))
	}
	wantReply(t, "a bad client in the body", w.form("/revoke", "token", s.Refresh, "client_id", "job", "client_secret", "wrong secret"), 400, "invalid_client")
	w.wants(0, s.Access, 200)
	if n := len(w.statements()); n != 0 {
		t.Errorf("nothing was revoked, and the stream holds %d statements", n)
	}

	ok("an access token, wrong hint, the other replica", w.on(1).form("/revoke", "token", s.Access, "token_type_hint", "refresh_token", "client_id", "app"))
	w.wants(0, s.Access, 401)
	ok("again", w.form("/revoke", "token", s.Access))
	next := w.refresh(s)
	w.wants(0, next.Access, 200)
	ok("a refresh token, wrong hint", w.form("/revoke", "token", next.Refresh, "token_type_hint", "access_token"))
	wantReply(t, "its refresh", w.on(1).tryRefresh(next.Refresh), 400, "invalid_grant")
	w.wants(0, next.Access, 401)
	ok("again, a hint that nobody knows", w.form("/revoke", "token", next.Refresh, "token_type_hint", "saml"))

	own := g.token(w.face, "job")
	w.wants(0, own, 200)
	wantReply(t, "a client's own token, without its secret", w.form("/revoke", "token", own), 400, "unauthorized_client")
	ok("a client's own token, secret in the body", w.form("/revoke", "token", own, "client_id", "job", "client_secret", g.secrets["job"]))
	w.wants(0, own, 401)
	if n := len(w.statements()); n != 3 {
		t.Errorf("got %d statements, want one for each that was revoked: 3", n)
	}
}

// TestM7_BusDown: 503 says that nothing was done, and nothing was.
func TestM7_BusDown(t *testing.T) {
	t.Parallel()
	nats := natstest.StartProcess(t, t.TempDir(), 0)
	w := newWorld(t, withNATS(nats.URL()))
	s := w.login("ann")
	w.wants(0, s.Access, 200)
	nats.Kill()
	for what, r := range map[string]reply{
		"access token":  w.formOnce("/revoke", "token", s.Access),
		"refresh token": w.formOnce("/revoke", "token", s.Refresh),
	} {
		wantReply(t, what, r, 503, "temporarily_unavailable")
		if r.header.Get("Retry-After") == "" {
			t.Errorf("%s: got no Retry-After", what)
		}
	}
	w.wants(0, s.Access, 200)
	nats.Restart(t)
	w.issuers[0].ready()
	w.eventually("revoked once NATS is back", func() bool { return w.form("/revoke", "token", s.Access).status == 200 })
	w.wants(0, s.Access, 401)
	w.refresh(s) // the session was not touched
	w.eventually("the test is connected, too", w.conn.IsConnected)
}

// TestS1_Metadata: both documents say the same, and everything they name is there.
func TestS1_Metadata(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.json("GET", "/.well-known/oauth-authorization-server", "", "")
	second := w.json("GET", "/.well-known/openid-configuration", "", "")
	if first.status != 200 || first.raw != second.raw || !strings.HasPrefix(first.header.Get("Content-Type"), "application/json") {
		t.Fatalf("got %s and %s, want the same document twice", first, second)
	}
	if first.text("issuer") != w.url {
		t.Errorf("got the issuer %q, want %q", first.text("issuer"), w.url)
	}
	for name, v := range first.body {
		url, _ := v.(string)
		path, ours := strings.CutPrefix(url, w.url)
		switch {
		case !strings.HasSuffix(name, "_endpoint") && name != "jwks_uri":
		case !ours:
			t.Errorf("%s: got %q, want it at the issuer", name, url)
		default:
			if r := w.json("GET", path, "", ""); r.status == 404 {
				t.Errorf("%s: %s does not exist", name, path)
			}
		}
	}
	has := func(member string, want ...any) {
		t.Helper()
		list, _ := first.body[member].([]any)
		in := map[any]bool{}
		for _, v := range list {
			in[v] = true
		}
		for _, v := range want {
			if !in[v] {
				t.Errorf("%s: got %v, want %v in it", member, list, v)
			}
		}
	}
	has("grant_types_supported", "authorization_code", "refresh_token", "client_credentials", issuer.GrantTokenExchange)
	has("token_endpoint_auth_methods_supported", "client_secret_basic", "client_secret_post", "none")
	has("revocation_endpoint_auth_methods_supported", "client_secret_basic", "client_secret_post", "none")
	has("introspection_endpoint_auth_methods_supported", "client_secret_basic", "client_secret_post")
	has("response_types_supported", "code")
	has("code_challenge_methods_supported", "S256")
	has("subject_types_supported", "public")
	// What is listed is what is answered otherwise than unsupported_grant_type.
	grants, _ := first.body["grant_types_supported"].([]any)
	for _, g := range grants {
		if r := w.form("/token", "grant_type", g.(string)); r.code() == "unsupported_grant_type" {
			t.Errorf("%v is listed and not supported", g)
		}
	}
	wantReply(t, "a grant that is not listed", w.form("/token", "grant_type", "password"), 400, "unsupported_grant_type")
}

// TestS2_Introspection is RFC 7662 against the running program: each API learns of its own tokens only.
func TestS2_Introspection(t *testing.T) {
	t.Parallel()
	g := newRegistry(t).add("app", map[string]any{"public": true}).add("job", credentialsGrant("read")).
		add("shop", map[string]any{"introspects": []string{"api"}}).add("bank", map[string]any{"introspects": []string{"bank"}})
	w := newWorld(t, withReplicas(2), withIssuer("--clients", g.path))
	s := w.login("ann")
	a := g.as(w.face, "shop", "/introspect", "token", s.Access)
	if a.status != 200 || a.body["active"] != true || a.text("client_id") != "app" || a.text("sid") != s.Sid || a.text("token_type") != "Bearer" ||
		a.text("aud") != "api" || a.text("iss") != w.url || a.seconds("exp") <= a.seconds("iat") {
		t.Errorf("a living token: got %s %v", a, reflect.ValueOf(a.body).MapKeys())
	}
	inactive := func(what string, f face, client, token string) {
		t.Helper()
		if r := g.as(f, client, "/introspect", "token", token); r.status != 200 || r.raw != "{\"active\":false}\n" {
			t.Errorf("%s: got %s, want exactly {\"active\":false}", what, r)
		}
	}
	inactive("an API of another audience", w.face, "bank", s.Access)
	inactive("nonsense", w.face, "shop", "nonsense")
	inactive("another client's refresh token", w.face, "shop", s.Refresh)
	wantReply(t, "nobody asks", w.form("/introspect", "token", s.Access), 401, "invalid_client")
	wantReply(t, "a public client asks", w.form("/introspect", "token", s.Access, "client_id", "app"), 401, "invalid_client")
	own := g.token(w.face, "job")
	if r := g.as(w.on(1), "job", "/introspect", "token", own); r.body["active"] != true || r.text("sub") != "client:job" {
		t.Errorf("a client's own token: got %s", r)
	}

	wantReply(t, "logout", w.json("POST", "/logout", s.Access, ""), 200, "")
	inactive("after logout", w.face, "shop", s.Access)
	w.eventually("after logout, on the other replica", func() bool {
		return g.as(w.on(1), "shop", "/introspect", "token", s.Access).raw == "{\"active\":false}\n"
	})
}

// TestS8_ClientRevocation: revoking a client, and disabling it in the registry, hits its tokens and only its tokens.
func TestS8_ClientRevocation(t *testing.T) {
	t.Parallel()
	g := newRegistry(t).add("app", map[string]any{"public": true}).add("job", credentialsGrant("read")).add("other", credentialsGrant("read"))
	w := newWorld(t, withReplicas(2), withIssuer("--clients", g.path), withNode(), withNode())
	s := w.login("ann")
	job, other := g.token(w.face, "job"), g.token(w.on(1), "other")
	others := func(what string) {
		t.Helper()
		for node := range 2 {
			for name, token := range map[string]string{"other": other, "a user's": s.Access} {
				if r := w.call(node, token); r.status != 200 {
					t.Errorf("%s: %s token at node %d: got %s, want 200", what, name, node, r)
				}
			}
		}
	}
	w.wants(0, job, 200)
	w.wants(1, job, 200)
	if out, err := w.quash("revoke", "client", "job", "--iss", w.url, "--reason", "leaked", "--confirm", "job"); err != nil {
		t.Fatalf("quash revoke client: %v\n%s", err, out)
	}
	w.wants(0, job, 401)
	w.wants(1, job, 401)
	others("revoked")
	var next string
	w.eventually("revoked is not disabled: a new token is accepted", func() bool { // a replica that has not heard of it yet makes one that is as old
		next = g.token(w.on(1), "job")
		return w.call(0, next).status == 200
	})

	g.set("job", "disabled", true)
	w.wants(0, next, 401)
	w.wants(1, next, 401)
	for k := range 2 {
		w.eventually("no new token", func() bool {
			return g.as(w.on(k), "job", "/token", "grant_type", "client_credentials").code() == "invalid_client"
		})
	}
	others("disabled")
	policy := 0
	for _, st := range w.statements() {
		switch {
		case st.Scope != events.Client || st.Key != "job":
			t.Errorf("got a statement on %s %s", st.Scope, st.Key)
		case st.By == "policy" && st.Reason == "client disabled":
			policy++
		}
	}
	if policy != 1 {
		t.Errorf("two replicas saw the client leave and published %d statements, want 1", policy)
	}

	g.set("job", "disabled", false)
	w.eventually("a new token", func() bool { return g.as(w.face, "job", "/token", "grant_type", "client_credentials").status == 200 })
	w.eventually("a new token is accepted", func() bool { return w.call(0, g.token(w.face, "job")).status == 200 })
	w.wants(0, next, 401)
	others("enabled")
}
