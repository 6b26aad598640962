package issuer_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// crashClients are the clients that what is killed has to do with, and cookies.
func crashClients(cfg *issuer.Config) {
	withCookies(cfg)
	code := []string{issuer.GrantAuthorizationCode, issuer.GrantRefresh}
	cfg.Clients = []issuer.Client{
		{ID: "quash", Public: true},
		{ID: "shop", Public: true, Grants: code, RedirectURIs: []string{"https://shop.example/cb"}},
		confidential("gate", func(c *issuer.Client) {
			c.Grants, c.Introspects = []string{exchangeGrant}, []string{"https://api.example"}
		}),
	}
}

// made is what an operation needs that its check has prepared.
type made struct {
	tab  *tab
	flow flow
	code string
	kid  string
}

func userOp(change string, body object) func(*crashRun, *rig) answer {
	return func(c *crashRun, r *rig) answer {
		return r.send("POST", "/admin/users/"+c.user.Sub+"/"+change, c.admin.Access, body)
	}
}

// crashGrants are operations that give something, and those that end nothing. check prepares, acts, and says whether the child
// got through.
var crashGrants = map[string]struct {
	check func(c *crashRun, what string, act func(*crashRun, *rig) answer) bool
	act   func(*crashRun, *rig) answer
}{
	"code exchange": {checkCode, func(c *crashRun, r *rig) answer { return r.exchange(c.made.flow, c.made.code) }},
	"cookie renewal": {checkRenewal, func(c *crashRun, r *rig) answer {
		b := c.made.tab.copy(r)
		defer func() { c.made.tab.cookies = b.cookies }()
		return b.refresh()
	}},
	"token exchange": {checkOnlyGiven, func(c *crashRun, r *rig) answer {
		return r.as("gate", "/token", "grant_type", exchangeGrant, "subject_token", c.s.Access, "subject_token_type", accessType)
	}},
	"one-time token": {checkOnlyGiven, func(c *crashRun, r *rig) answer {
		return r.once(c.admin.Access, "sub", c.user.Sub, "scope", "reset")
	}},
	"create user": {checkCreate, func(c *crashRun, r *rig) answer {
		return r.send("POST", "/admin/users", c.admin.Access, object{"username": "new " + c.user.Name, "password": password})
	}},
	"enable": {checkEnable, userOp("enable", object{})},
	"rotate": {checkRotate, func(c *crashRun, r *rig) answer {
		return r.send("POST", "/admin/keys/rotate", c.admin.Access, object{})
	}},
	"retire": {checkRetire, func(c *crashRun, r *rig) answer {
		return r.send("POST", "/admin/keys/"+c.made.kid+"/retire", c.admin.Access, object{})
	}},
}

// checkCode: who lost the answer gets the tokens at the next attempt, or nobody has any: the code was used, and is shown again.
func checkCode(c *crashRun, what string, act func(*crashRun, *rig) answer) (through bool) {
	c.made.flow = newFlow()
	c.made.code = c.browser().code(c.made.flow, c.user.Name)
	a := act(c, c.child.rig)
	if through = a.networkError == nil; !through {
		a = act(c, c.rig)
	}
	if a.status == 200 {
		c.alive(what+": the token", a.Access)
		c.want(what+": its refresh", c.refreshAt("shop", a.Refresh), 200, "")
		return through
	}
	if through {
		c.t.Errorf("not killed: got %d %s", a.status, a.raw)
	}
	c.want(what+": tried again", a, 400, "invalid_grant")
	c.settle()
	if l := c.list("/admin/sessions?sub="+c.user.Sub+"&client_id=shop", c.admin.Access); len(l.Sessions) != 0 {
		c.t.Errorf("%s: got %d sessions of a code that gave nobody a token, want none", what, len(l.Sessions))
	}
	return through
}

// checkRenewal: see checkRefresh. The old session is over on both sides, or wholly alive.
func checkRenewal(c *crashRun, what string, act func(*crashRun, *rig) answer) (through bool) {
	c.made.tab = c.tab()
	s := c.made.tab.login(c.user.Name)
	old := c.made.tab.access()
	a := act(c, c.child.rig)
	if through = a.networkError == nil; !through {
		c.settle()
		ended := c.statement(events.Session, s.Sid)
		if dead := c.made.tab.state(s.Sid) != "live"; dead != ended {
			c.t.Errorf("%s: the session is over: %v, its statement is published: %v", what, dead, ended)
		}
		a = act(c, c.rig)
	}
	c.settle()
	if a.status == 200 {
		until(c.t, "the end of the old session arrives", func() bool { return issuer.Covered(c.Issuer, old) })
		c.alive(what+": the new token", c.made.tab.access())
		c.made.tab.got(what+": its refresh", c.made.tab.copy(c.rig).refresh())
		return through
	}
	if through {
		c.t.Errorf("not killed: got %d %s", a.status, a.raw)
	}
	c.want(what+": tried again", a, 400, "invalid_grant")
	until(c.t, "the end of the old session arrives", func() bool { return issuer.Covered(c.Issuer, old) })
	if l := c.list("/admin/sessions?sub="+c.user.Sub, c.admin.Access); len(l.Sessions) != 1 { // the one of everyPoint
		c.t.Errorf("%s: got %d sessions, want none of the login whose cookie was shown twice", what, len(l.Sessions)-1)
	}
	return through
}

// checkOnlyGiven: what was lost is given again, and nothing ended.
func checkOnlyGiven(c *crashRun, what string, act func(*crashRun, *rig) answer) (through bool) {
	a := act(c, c.child.rig)
	if through = a.networkError == nil; !through {
		a = act(c, c.rig)
	}
	c.want(what, a, 200, "")
	c.alive(what+": the session", c.s.Access)
	c.want(what+": its refresh", c.refresh(c.s.Refresh), 200, "")
	if all := c.statements(); len(all) != len(c.before) {
		c.t.Errorf("%s: got %d statements, want %d", what, len(all), len(c.before))
	}
	return through
}

// checkCreate: the account is there or it is not; never a name that nobody can have.
func checkCreate(c *crashRun, what string, act func(*crashRun, *rig) answer) (through bool) {
	a := act(c, c.child.rig)
	if through = a.networkError == nil; !through {
		a = act(c, c.rig)
	}
	if a.status != 201 && (through || a.status != 409) {
		c.t.Errorf("%s: got %d %s, want 201, or 409 of an account that is there already", what, a.status, a.raw)
	}
	c.login("new " + c.user.Name)
	return through
}

// checkEnable: what a crash leaves ends no login that comes after it.
func checkEnable(c *crashRun, what string, act func(*crashRun, *rig) answer) (through bool) {
	c.patience(crashTimeout) // nobody is killed at this: a repair must not think so
	if err := c.Disable(within(c.t), c.user.Sub, issuer.Cause{}); err != nil {
		c.t.Fatal(err)
	}
	c.patience(crashPatience)
	a := act(c, c.child.rig)
	if through = a.networkError == nil; !through {
		a = act(c, c.rig)
	}
	c.want(what, a, 200, "")
	s := c.login(c.user.Name)
	c.settle()
	c.alive(what+": a login after it", s.Access)
	c.dead(what+": a token of before", c.s.Access)
	return through
}

// checkRotate: however often, one key follows.
func checkRotate(c *crashRun, what string, act func(*crashRun, *rig) answer) (through bool) {
	a := act(c, c.child.rig)
	if through = a.networkError == nil; !through {
		a = act(c, c.rig)
	}
	c.want(what, a, 200, "")
	b := act(c, c.rig)
	c.want(what+": again", b, 200, "")
	if a.body["kid"] != b.body["kid"] {
		c.t.Errorf("%s: got keys %v and %v, want one that follows", what, a.body["kid"], b.body["kid"])
	}
	c.alive(what+": a token of before", c.s.Access)
	return through
}

// checkRetire calls a rotation off.
func checkRetire(c *crashRun, what string, act func(*crashRun, *rig) answer) (through bool) {
	waiting := c.send("POST", "/admin/keys/rotate", c.admin.Access, object{})
	c.want("rotate", waiting, 200, "")
	c.made.kid, _ = waiting.body["kid"].(string)
	a := act(c, c.child.rig)
	if through = a.networkError == nil; !through {
		a = act(c, c.rig)
	}
	c.want(what, a, 200, "")
	if a.body["state"] != "retired" {
		c.t.Errorf("%s: got %s, want a retired key", what, a.raw)
	}
	c.alive(what+": a token of before", c.s.Access)
	return through
}

// TestM19_KilledWhileDisablingAClient at every message: whoever starts next finishes it, with one statement.
func TestM19_KilledWhileDisablingAClient(t *testing.T) {
	t.Parallel()
	nats := server(t)
	ours, theirs, keys := newClientsFile(t, appOn), newClientsFile(t, appOn), filepath.Join(t.TempDir(), "keys")
	here := start(t, nats.URL(), func(cfg *issuer.Config) {
		cfg.KeysDir, cfg.Timeout, cfg.ClientsFile = keys, crashTimeout, ours.path
	})
	here.user("ann")
	cfg := childConfig{NATS: nats.URL(), KeysDir: keys, ClientsFile: theirs.path, Replicas: 1}
	for n, through := 1, false; ; n++ {
		if through {
			n = -1
		}
		theirs.write(appOn)
		dying := startChildOf(t, cfg)
		if a := patient(t, func() answer { return dying.do("reload", "") }); a.status != 200 {
			t.Fatalf("reload: got %d %s", a.status, a.raw)
		}
		s := dying.rig.loginAt("app")
		here.want("login", s, 200, "")
		here.alive("its token", s.Access)
		before := here.published(events.Client, "app")
		dying.set(n)
		theirs.write(appOff)
		what := fmt.Sprintf("killed before message %d", n)
		a := dying.do("reload", "")
		through = !dying.dead(a)
		if !through {
			dying = startChildOf(t, cfg)
		}
		until(t, what+": the statement arrives", func() bool { return issuer.Covered(here.Issuer, s.Access) })
		for name, refused := range map[string]answer{"login": dying.rig.loginAt("app"), "refresh": dying.rig.refreshAt("app", s.Refresh)} {
			if refused.Error != "invalid_client" {
				t.Errorf("%s: %s: got %d %s, want invalid_client", what, name, refused.status, refused.raw)
			}
		}
		if again := patient(t, func() answer { return dying.do("reload", "") }); again.status != 200 {
			t.Errorf("%s: reload again: got %d %s", what, again.status, again.raw)
		}
		if n := here.published(events.Client, "app"); n != before+1 {
			t.Errorf("%s: got %d statements, want 1", what, n-before)
		}
		dying.end()
		if n < 0 || t.Failed() {
			if through {
				t.Errorf("%s: it was not killed", what)
			}
			return
		}
	}
}
