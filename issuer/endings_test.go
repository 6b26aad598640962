package issuer_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// ending is one way in which sessions or tokens end. Whoever writes another one appends it to endings (in an init of the
// feature's own test file): TestEveryEnding walks them all, and TestEndingsAreComplete fails for a way that is missing here.
type ending struct {
	name   string
	at     string // the function of this package that asks for it
	scope  events.Scope
	by     string
	actor  string // "user": whose session it is; "admin": the operator; "": nobody
	reason string
	do     func(p *place) (key string, err error)
}

// place is where an ending happens.
type place struct {
	*rig
	s     answer // a session of the user, logged in before; do may put another one there
	admin string // an operator's bearer
	user  issuer.User
}

var endings = []ending{
	{"logout", "serveLogout", events.Session, "user", "user", "logout", func(p *place) (string, error) {
		return p.s.Sid, ok(p.bearer("/logout", p.s.Access, ""))
	}},
	{"logout of all", "serveLogoutAll", events.Subject, "user", "user", "logout of all sessions", func(p *place) (string, error) {
		return p.user.Sub, ok(p.bearer("/logout-all", p.s.Access, ""))
	}},
	{"one device", "serveEndSession", events.Session, "user", "user", "logout of one session", func(p *place) (string, error) {
		here := p.login("ann")
		return p.s.Sid, ok(p.with("DELETE", "/sessions/"+p.s.Sid, here.Access))
	}},
	{"revoke refresh token", "serveRevoke", events.Session, "user", "user", "token revoked by its client", func(p *place) (string, error) {
		return p.s.Sid, ok(p.form("/revoke", "token", p.s.Refresh))
	}},
	{"revoke access token", "serveRevoke", events.Token, "user", "user", "token revoked by its client", func(p *place) (string, error) {
		return claim(p.t, p.s.Access, "jti"), ok(p.form("/revoke", "token", p.s.Access))
	}},
	{"refresh reuse", "reused", events.Session, "system", "", "refresh token used twice", func(p *place) (string, error) {
		p.refresh(p.s.Refresh)
		p.want("reuse", p.refresh(p.s.Refresh), 400, "invalid_grant")
		return p.s.Sid, nil
	}},
	{"admin token", "order", events.Token, "admin", "admin", "test", func(p *place) (string, error) {
		jti := claim(p.t, p.s.Access, "jti")
		return jti, ok(p.revoke(p.admin, "token", jti))
	}},
	{"admin session", "order", events.Session, "admin", "admin", "test", func(p *place) (string, error) {
		return p.s.Sid, ok(p.revoke(p.admin, "session", p.s.Sid))
	}},
	{"admin subject", "order", events.Subject, "admin", "admin", "test", func(p *place) (string, error) {
		return p.user.Sub, ok(p.revoke(p.admin, "subject", p.user.Sub))
	}},
	{"admin client", "order", events.Client, "admin", "admin", "test", func(p *place) (string, error) {
		return "quash", ok(p.revoke(p.admin, "client", "quash"))
	}},
	{"admin key", "order", events.Key, "admin", "admin", "test", func(p *place) (string, error) {
		kid := issuer.KeyID(p.Issuer, p.s.Access)
		return kid, ok(p.revoke(p.admin, "key", kid))
	}},
	{"admin issuer", "order", events.Issuer, "admin", "admin", "test", func(p *place) (string, error) {
		return "", ok(p.revoke(p.admin, "issuer", ""))
	}},
	{"logout by cookie", "logoutByCookie", events.Session, "user", "user", "logout", func(p *place) (string, error) {
		b := p.tab()
		p.s = b.login("ann")
		return p.s.Sid, ok(b.logout())
	}},
	{"login where a session was", "replace", events.Session, "user", "user", "replaced by a new login", func(p *place) (string, error) {
		b := p.tab()
		p.s = b.login("ann")
		b.login("ann")
		return p.s.Sid, nil
	}},
	{"refresh by cookie", "renew", events.Session, "user", "user", "renewed: a new session took its place", func(p *place) (string, error) {
		b := p.tab()
		p.s = b.login("ann")
		return p.s.Sid, ok(b.refresh())
	}},
	{"user disabled", "alter", events.Subject, "admin", "hr", "fraud", func(p *place) (string, error) {
		err := p.Disable(within(p.t), p.user.Sub, issuer.Cause{Actor: "hr", Reason: "fraud", Txn: "t"})
		p.want("login while disabled", p.tryLogin("ann", password), 403, "access_denied")
		p.want("wrong password while disabled", p.tryLogin("ann", "wrong"), 401, "invalid_credentials")
		return p.user.Sub, errors.Join(err, p.Enable(within(p.t), p.user.Sub))
	}},
	{"user disabled over HTTP", "alter", events.Subject, "admin", "admin", "fraud", func(p *place) (string, error) {
		at := "/admin/users/" + p.user.Sub
		err := ok(p.send("POST", at+"/disable", p.admin, object{"reason": "fraud"}))
		return p.user.Sub, errors.Join(err, ok(p.send("POST", at+"/enable", p.admin, object{})))
	}},
	{"password over HTTP", "alter", events.Subject, "admin", "admin", "forgotten", func(p *place) (string, error) {
		at := "/admin/users/" + p.user.Sub + "/password"
		return p.user.Sub, ok(p.send("POST", at, p.admin, object{"reason": "forgotten", "password": password}))
	}},
	{"a scope taken", "alter", events.Subject, "admin", "admin", "moved", func(p *place) (string, error) {
		at := "/admin/users/" + p.user.Sub + "/scopes"
		if err := ok(p.send("POST", at, p.admin, object{"scopes": []string{"extra"}})); err != nil {
			return "", err
		}
		p.s = p.login("ann")
		return p.user.Sub, ok(p.send("POST", at, p.admin, object{"reason": "moved", "scopes": []string{}}))
	}},
	{"own password", "alter", events.Subject, "user", "user", "password changed", func(p *place) (string, error) {
		err := ok(p.send("POST", "/password", p.s.Access, object{"current_password": password, "new_password": "another one"}))
		return p.user.Sub, errors.Join(err, p.SetPassword(within(p.t), p.user.Sub, password, issuer.Cause{By: "user", Actor: p.user.Sub, Reason: "password changed"}))
	}},
	{"key over HTTP", "order", events.Key, "admin", "admin", "stolen", func(p *place) (string, error) {
		kid := issuer.KeyID(p.Issuer, p.s.Access)
		return kid, ok(p.send("POST", "/admin/keys/"+kid+"/revoke", p.admin, object{"reason": "stolen", "confirm": kid}))
	}},
	{"password change", "alter", events.Subject, "user", "user", "new password", func(p *place) (string, error) {
		why := issuer.Cause{By: "user", Actor: p.user.Sub, Reason: "new password"}
		err := p.SetPassword(within(p.t), p.user.Sub, "another one", why)
		p.want("the old password", p.tryLogin("ann", password), 401, "invalid_credentials")
		return p.user.Sub, errors.Join(err, p.SetPassword(within(p.t), p.user.Sub, password, why))
	}},
}

// endedElsewhere are functions that ask for an ending in circumstances that take a test of their own, by the name of that
// test. It looks at by, actor and reason on the stream, too.
var endedElsewhere = map[string]string{
	"endClient":  "TestS8_DisabledClient",
	"codeReused": "TestCodeReuse",
	"endAltered": "TestEndingOfARepairedAccount",
}

// TestEveryEnding walks every path that ends sessions: each is one statement on the stream that says who, by what right
// and why, and leaves neither the access token nor the refresh token alive.
func TestEveryEnding(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL(), withCookies, func(c *issuer.Config) { c.WideBurst = 1000 })
	root := r.user("root", issuer.ScopeAdmin)
	u := r.user("ann")
	for _, e := range endings {
		p := place{rig: r, s: r.login("ann"), admin: r.login("root").Access, user: u}
		before := map[string]bool{}
		for _, x := range r.statements() {
			before[x.ID] = true
		}
		key, err := e.do(&p)
		if err != nil {
			t.Errorf("%s: %v", e.name, err)
			continue
		}
		actor := map[string]string{"user": u.Sub, "admin": root.Sub}[e.actor]
		if actor == "" {
			actor = e.actor
		}
		found := false
		for _, x := range r.statements() {
			if before[x.ID] {
				continue
			}
			if x.By != e.by || x.Actor != actor || x.Reason != e.reason || x.Reason == "" || e.by == "admin" && x.Txn == "" || x.Scope != e.scope || x.Key != key || x.Issuer != iss {
				t.Errorf("%s: got %+v, want %v %q by %s, actor %q, reason %q", e.name, x, e.scope, key, e.by, actor, e.reason)
			}
			found = true
		}
		if !found {
			t.Errorf("%s: no new statement on the stream", e.name)
		}
		if p.s.Access != "" {
			r.dead(e.name+": the access token", p.s.Access)
		}
		if state, err := issuer.SessionState(within(t), r.Issuer, p.s.Sid); e.scope == events.Session && (err != nil || state != "ended") {
			t.Errorf("%s: got a session that is %s %v, want ended", e.name, state, err)
		}
		if p.s.Refresh != "" && e.scope != events.Token && e.scope != events.Key {
			r.want(e.name+": the refresh token", r.refresh(p.s.Refresh), 400, "invalid_grant")
		}
	}
	until(t, "no intent is left", func() bool {
		n, err := issuer.Pointers(t.Context(), r.Issuer)
		return err == nil && n == 0
	})
}

// TestEndingOfARepairedAccount: what a crash left half done is ended with the cause that it began with.
func TestEndingOfARepairedAccount(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL())
	u := r.user("ann")
	issuer.SetFault(r.Issuer, func(step string) error {
		if step == "ending" {
			return errCrash
		}
		return nil
	})
	if err := r.Disable(within(t), u.Sub, issuer.Cause{Actor: "hr", Reason: "fraud", Txn: "case"}); !errors.Is(err, errCrash) {
		t.Fatalf("got %v, want the crash", err)
	}
	issuer.SetFault(r.Issuer, nil)
	issuer.SetPatience(r.Issuer, 0) // not before: a repair in the middle of the change would be one more
	// Once for the generation that was raised, once for the account.
	until(t, "the repairs publish", func() bool { return r.published(events.Subject, u.Sub) == 2 })
	for _, s := range r.statements() {
		if s.By != "admin" || s.Actor != "hr" || s.Reason != "fraud" || s.Txn != "case" {
			t.Errorf("got %+v, want the cause of the change", s)
		}
	}
}

// sources are the functions of this package's source, or of its tests.
func sources(t *testing.T, tests bool) map[string]*ast.FuncDecl {
	t.Helper()
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*ast.FuncDecl{}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") != tests {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				out[f.Name.Name+receiver(f)] = f
			}
		}
	}
	return out
}

// receiver keeps methods of the issuer apart from those of others.
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	if star, ok := f.Recv.List[0].Type.(*ast.StarExpr); ok {
		if name, ok := star.X.(*ast.Ident); ok && name.Name == "Issuer" {
			return ""
		}
	}
	return " (not of Issuer)"
}

// calls reports whether the function calls a method i.NAME or i.X.NAME.
func calls(f *ast.FuncDecl, names ...string) bool {
	found := false
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && slices.Contains(names, s.Sel.Name) {
			found = true
		}
		return true
	})
	return found
}

// TestEndingsAreComplete: nothing ends a session outside Issuer.Revoke, and whatever calls it is in the table.
func TestEndingsAreComplete(t *testing.T) {
	t.Parallel()
	source, tests := sources(t, false), sources(t, true)
	known := map[string]bool{}
	for _, e := range endings {
		known[e.at] = true
	}
	for name, test := range endedElsewhere {
		known[name] = true
		if tests[test] == nil {
			t.Errorf("%s is said to be tested by %s, which does not exist", name, test)
		}
	}
	asks := map[string]bool{}
	for name, f := range source {
		if name != "end" && name != "Revoke" && calls(f, "Revoke", "end", "writeHeir") {
			asks[name] = true
		}
	}
	for name := range asks {
		if !known[name] {
			t.Errorf("%s ends sessions and no entry of endings (endings_test.go) goes through it: add one", name)
		}
	}
	for name := range known {
		if !asks[name] {
			t.Errorf("endings (endings_test.go) names %s, which ends nothing: correct it", name)
		}
	}
	// The two halves: only Revoke and what repairs it come to publish, and only publish speaks to the publisher.
	for what, c := range map[string]struct {
		names, allowed []string
	}{
		"the publisher":  {[]string{"Publish", "PublishAll"}, []string{"deliver", "giveRun"}}, // giveRun: what was published before
		"deliver":        {[]string{"deliver"}, []string{"publish", "renewKey"}},              // renewKey: what was published before, for longer
		"publish":        {[]string{"publish"}, []string{"Revoke", "endSession", "publishSession", "raise", "publishMark"}},
		"endSession":     {[]string{"endSession"}, []string{"Revoke", "reconcileSession"}}, // reconcileSession: somebody else's statement, and the heir
		"publishSession": {[]string{"publishSession"}, []string{"endSession", "repairOne", "renew", "renewed"}},
		"raise":          {[]string{"raise"}, []string{"Revoke"}},
	} {
		for _, name := range slices.Sorted(maps.Keys(source)) {
			if calls(source[name], c.names...) && !slices.Contains(c.allowed, name) && !strings.HasSuffix(name, "(not of Issuer)") {
				t.Errorf("%s calls %s: sessions end through Issuer.Revoke only", name, what)
			}
		}
	}
}
