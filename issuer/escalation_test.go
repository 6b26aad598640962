package issuer_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// TestOwnScopesAreNotGivenAway: an application of somebody else, to which an operator logs in, gets no power over the issuer unless
// the registry says so.
func TestOwnScopesAreNotGivenAway(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL(), func(c *issuer.Config) {
		applications(c)
		ops := c.Clients[2]
		ops.ID, ops.Scopes = "ops", []string{issuer.ScopeAdmin}
		c.Clients = append(c.Clients, ops)
	})
	r.user("root", issuer.ScopeAdmin, issuer.ScopeRevoke, issuer.ScopeOnce, "read")
	ann := r.user("ann")
	f := newFlow()
	f.client, f.secret, f.redirect = "desk", deskSecret, "https://desk.example/cb"
	for _, asked := range []string{"", "read quash.admin quash.revoke quash.once"} {
		f.scope = asked
		a := r.exchange(f, r.browser().code(f, "root"))
		if r.want("code flow", a, 200, ""); a.Scope != "read" {
			t.Errorf("asked for %q: got scope %q, want read", asked, a.Scope)
		}
		r.want("the application as operator", r.revoke(a.Access, "subject", ann.Sub), 403, "insufficient_scope")
	}
	f.client = "ops"
	r.want("a listed one", r.revoke(r.exchange(f, r.browser().code(f, "root")).Access, "subject", ann.Sub), 200, "")
	r.want("first party", r.revoke(r.login("root").Access, "subject", ann.Sub), 200, "")
}

// TestNarrowedClientOperatesNoMore: what the registry takes from a client ends here at once, not when its tokens expire.
func TestNarrowedClientOperatesNoMore(t *testing.T) {
	t.Parallel()
	client := func(scope string) string {
		return `{"client_id":"job","client_secret_hash":"` + issuer.HashSecret("secret of job") + `","grant_types":["client_credentials"],"scope":"` + scope + `"}`
	}
	app := func(scope string) string { return `{"client_id":"app","public":true,"scope":"` + scope + `"}` }
	file := newClientsFile(t, app("read quash.admin"), client("quash.admin"))
	r := start(t, server(t).URL(), func(c *issuer.Config) { c.ClientsFile = file.path })
	r.user("root", issuer.ScopeAdmin, "read")
	ann := r.user("ann")
	tokens := map[string]string{"machine": r.as("job", "/token", "grant_type", credentials).Access, "user": r.login("root").Access}
	for who, token := range tokens {
		r.want(who+" before", r.revoke(token, "subject", ann.Sub), 200, "")
	}
	file.write(app("read"), client("read"))
	r.reload()
	before := len(r.statements())
	for who, token := range tokens {
		r.alive(who, token)
		r.want(who+" after", r.revoke(token, "subject", ann.Sub), 403, "insufficient_scope")
		r.want(who+" after, users", r.with("GET", "/admin/users", token), 403, "insufficient_scope")
		r.want(who+" after, sessions", r.with("GET", "/admin/sessions?sub="+ann.Sub, token), 403, "insufficient_scope")
		r.want(who+" after, keys", r.with("GET", "/admin/keys", token), 403, "insufficient_scope")
		r.want(who+" after, one-time", r.bearer("/admin/one-time", token, `{"sub":"`+ann.Sub+`","scope":"x"}`), 403, "insufficient_scope")
	}
	if n := len(r.statements()) - before; n != 0 {
		t.Errorf("got %d statements, want none", n)
	}
}

// TestNoEndingForAWhile: an ending that is forgotten before the tokens have died would bring them back, and the record that says
// "ended" would keep everybody from ending the session properly.
func TestNoEndingForAWhile(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL())
	r.user("root", issuer.ScopeAdmin)
	r.user("fraud", issuer.ScopeRevoke)
	ann := r.user("ann")
	s := r.login("ann")
	soon := time.Now().Add(time.Minute).Unix()
	for who, token := range map[string]string{"operator": r.login("root").Access, "system": r.login("fraud").Access} {
		for scope, key := range map[string]string{"session": s.Sid, "subject": ann.Sub} {
			a := r.post(token, "scope", scope, "key", key, "until", soon)
			if r.want(fmt.Sprint(who, scope), a, 400, "invalid_request"); !strings.HasPrefix(a.Description, "until: is for scope token") {
				t.Errorf("%s, %s: got %q", who, scope, a.Description)
			}
		}
		r.want(who+": a token", r.post(token, "scope", "token", "key", "of "+who, "until", soon), 200, "")
	}
	r.alive("after refusals", s.Access)
	r.want("without", r.post(r.login("fraud").Access, "scope", "session", "key", s.Sid), 200, "")
	for _, st := range r.statements() {
		if expires := int64(claimsOf(t, s.Access)["exp"].(float64)); st.Scope == events.Session && st.Until.Unix() < expires {
			t.Errorf("forgotten at %v, before the token dies", st.Until)
		}
	}
}

// TestSystemSeesNoAccount: who may disable accounts may not read them.
func TestSystemSeesNoAccount(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL())
	r.user("root", issuer.ScopeAdmin)
	r.user("fraud", issuer.ScopeRevoke)
	ann := r.user("ann", "read")
	at := "/admin/users/" + url.PathEscape(ann.Sub) + "/disable"
	a := r.bearer(at, r.login("fraud").Access, `{"txn":"case-1"}`)
	if r.want("system", a, 200, ""); a.ID == "" || a.Sequence == 0 || a.body["txn"] != "case-1" || a.body["disabled"] != true || a.body["sub"] != ann.Sub {
		t.Errorf("got %s, want what was done", a.raw)
	}
	for _, name := range []string{"username", "scopes", "created", "password"} {
		if _, there := a.body[name]; there {
			t.Errorf("got %s, want no %s", a.raw, name)
		}
	}
	if a := r.bearer(at, r.login("root").Access, ""); a.body["username"] != "ann" {
		t.Errorf("operator: got %s, want the account", a.raw)
	}
}

// TestNamesThatNobodyHas cost nothing: as part of a NATS subject a long one would end the issuer's connection.
func TestNamesThatNobodyHas(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL())
	r.user("root", issuer.ScopeAdmin)
	admin, long := r.login("root").Access, strings.Repeat("a", 6000)
	for _, query := range []string{"sub=" + long, "client_id=" + long, "sub=x&client_id=" + long} {
		if a := r.with("GET", "/admin/sessions?"+query, admin); a.status != 200 || a.body["sessions"] == nil || len(a.body["sessions"].([]any)) != 0 {
			t.Errorf("%.20s…: got %d %s, want none", query, a.status, a.raw)
		}
	}
	r.want("username", r.with("GET", "/admin/sessions?username="+long, admin), 404, "invalid_request")
	for _, path := range []string{"/admin/users/" + long, "/sessions/" + long} {
		if a := r.with("GET", path, admin); a.status/100 != 4 {
			t.Errorf("%.20s…: got %d %s, want a refusal", path, a.status, a.raw)
		}
	}
	if n := r.cfg.Conn.Stats().Reconnects; n != 0 || r.Ready() != nil {
		t.Errorf("got %d reconnections and %v, want a connection that lasts", n, r.Ready())
	}
}
