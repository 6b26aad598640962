package issuer_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// crashOp is an operation, done by the replica at r (by the child: with its own ways of reaching it).
type crashOp struct {
	name  string
	act   func(c *crashRun, r *rig) answer
	scope events.Scope
	key   func(c *crashRun) string
	lives bool // the refresh side is not concerned
	alone bool // nobody but the child that is started next may repair it
	code  int  // of success, 0 is 200

	half func(c *crashRun) bool // must not be true unless all is done
}

func (c *crashRun) sid() string { return c.s.Sid }
func (c *crashRun) sub() string { return c.user.Sub }

func adminOp(scope events.Scope, key func(*crashRun) string) func(*crashRun, *rig) answer {
	return func(c *crashRun, r *rig) answer {
		r.t.Helper()
		at := rig{t: r.t, url: r.url}
		return at.revoke(c.admin.Access, scope.String(), key(c))
	}
}

func logoutOp(c *crashRun, r *rig) answer { return r.bearer("/logout", c.s.Access, "") }

// directly does what has no endpoint, in the child or here.
func directly(what string, here func(context.Context, *crashRun) error) func(*crashRun, *rig) answer {
	return func(c *crashRun, r *rig) answer {
		if c.child != nil && r == c.child.rig {
			return c.child.do(what, c.user.Sub)
		}
		ctx, cancel := context.WithTimeout(c.t.Context(), crashTimeout) // as a request has
		defer cancel()
		if err := here(ctx, c); err != nil {
			return answer{status: http.StatusServiceUnavailable, raw: err.Error()}
		}
		return answer{status: 200}
	}
}

var (
	sidOf    = (*crashRun).sid
	subOf    = (*crashRun).sub
	clientOf = func(*crashRun) string { return "quash" }
	nothing  = func(*crashRun) string { return "" }
	crashOps = []crashOp{
		{name: "logout", act: logoutOp, scope: events.Session, key: sidOf},
		{name: "logout, repaired at the start", act: logoutOp, scope: events.Session, key: sidOf, alone: true},
		{name: "revoke refresh token", act: func(c *crashRun, r *rig) answer { return r.form("/revoke", "token", c.s.Refresh) }, scope: events.Session, key: sidOf},
		{name: "revoke access token", act: func(c *crashRun, r *rig) answer { return r.form("/revoke", "token", c.s.Access) }, scope: events.Token,
			key: func(c *crashRun) string { return claim(c.t, c.s.Access, "jti") }, lives: true},
		{name: "revoke session", act: adminOp(events.Session, sidOf), scope: events.Session, key: sidOf},
		{name: "revoke subject", act: adminOp(events.Subject, subOf), scope: events.Subject, key: subOf},
		{name: "revoke subject, repaired at the start", act: adminOp(events.Subject, subOf), scope: events.Subject, key: subOf, alone: true},
		{name: "revoke client", act: adminOp(events.Client, clientOf), scope: events.Client, key: clientOf},
		{name: "revoke key", act: adminOp(events.Key, func(c *crashRun) string { return c.kid }), scope: events.Key, key: func(c *crashRun) string { return c.kid }, lives: true},
		{name: "revoke issuer", act: adminOp(events.Issuer, nothing), scope: events.Issuer, key: nothing},
		{name: "disable", act: directly("disable", func(ctx context.Context, c *crashRun) error { return c.Disable(ctx, c.user.Sub, issuer.Cause{}) }), scope: events.Subject, key: subOf},
		{name: "password", act: directly("password", func(ctx context.Context, c *crashRun) error {
			return c.SetPassword(ctx, c.user.Sub, password+" new", issuer.Cause{})
		}), scope: events.Subject, key: subOf, half: func(c *crashRun) bool { return c.tryLogin(c.user.Name, password+" new").status == 200 }},
		{name: "disable over HTTP", act: userOp("disable", object{}), scope: events.Subject, key: subOf},
		{name: "password over HTTP", act: userOp("password", object{"password": password + " new"}), scope: events.Subject, key: subOf,
			half: func(c *crashRun) bool { return c.tryLogin(c.user.Name, password+" new").status == 200 }},
		{name: "own password", act: func(c *crashRun, r *rig) answer {
			return r.send("POST", "/password", c.s.Access, object{"current_password": password, "new_password": password + " new"})
		}, scope: events.Subject, key: subOf, half: func(c *crashRun) bool { return c.tryLogin(c.user.Name, password+" new").status == 200 }},
		{name: "key over HTTP", act: func(c *crashRun, r *rig) answer {
			return r.send("POST", "/admin/keys/"+c.kid+"/revoke", c.admin.Access, object{"confirm": c.kid, "reason": "stolen"})
		}, scope: events.Key, key: func(c *crashRun) string { return c.kid }, lives: true},
		{name: "reuse", act: func(c *crashRun, r *rig) answer { return r.refresh(c.old.Refresh) }, scope: events.Session, key: sidOf, code: 400},
	}
)

// TestM19_KilledIssuer kills an issuer with SIGKILL before every single message by which an operation changes anything, and
// before its answer. Once a replica has repaired, the operation has happened wholly (refresh side dead, statement on the stream,
// access token refused) or not at all, whatever was answered is true, and trying again succeeds.
func TestM19_KilledIssuer(t *testing.T) {
	t.Parallel()
	y := &tally{steps: map[string]bool{}}
	t.Run("operations", func(t *testing.T) {
		for _, op := range crashOps {
			t.Run(op.name, func(t *testing.T) {
				t.Parallel()
				everyPoint(t, y, op.alone, func(c *crashRun, what string, act func(*crashRun, *rig) answer) bool {
					return op.check(c, what, act(c, c.child.rig))
				}, op.act)
			})
		}
		t.Run("login", func(t *testing.T) {
			t.Parallel()
			everyPoint(t, y, false, checkLogin, func(c *crashRun, r *rig) answer { return r.tryLogin(c.user.Name, password) })
		})
		t.Run("refresh", func(t *testing.T) {
			t.Parallel()
			everyPoint(t, y, false, func(c *crashRun, what string, act func(*crashRun, *rig) answer) bool {
				return checkRefresh(c, what, act, y)
			},
				func(c *crashRun, r *rig) answer { return r.refresh(c.s.Refresh) })
		})
		for name, op := range crashGrants {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				everyPoint(t, y, false, op.check, op.act)
			})
		}
	})
	for _, step := range []string{"session", "rotate", "rotated", "renew", "renewed", "ending", "publish", "published"} {
		if !y.steps[step] && y.ops == len(crashOps)+len(crashGrants)+2 { // fewer: somebody has chosen
			t.Errorf("no operation came past the step %s", step)
		}
	}
	t.Logf("%d issuers killed; refreshes tried again and taken for theft: %d", y.kills, y.alarms)
}

// everyPoint runs an operation again and again, each time with a child that dies one message later, until one gets through; then
// once more with the answer lost.
func everyPoint(t *testing.T, y *tally, alone bool, check func(c *crashRun, what string, act func(*crashRun, *rig) answer) bool,
	act func(*crashRun, *rig) answer) {
	defer y.done()
	nats := server(t)
	keys := filepath.Join(t.TempDir(), "keys")
	l := &logs{}
	defer func() {
		if t.Failed() {
			t.Log(l)
		}
	}()
	here := start(t, nats.URL(), func(cfg *issuer.Config) {
		cfg.Logger = l.logger()
		cfg.KeysDir, cfg.LoginBurst, cfg.WideBurst, cfg.Timeout = keys, 1000, 1000, crashTimeout
		crashClients(cfg)
		if alone {
			cfg.RepairInterval = time.Hour
		}
	})
	issuer.SetPatience(here.Issuer, crashPatience)
	here.user("root", issuer.ScopeAdmin)
	dying := startChild(t, nats.URL(), keys, 1)
	for n, through := 1, false; ; n++ {
		if through {
			n = -1
		}
		c := &crashRun{rig: here, child: dying, user: here.user(fmt.Sprintf("ann-%d", n)), admin: here.patientLogin("root"), before: map[string]bool{}}
		c.old = here.patientLogin(c.user.Name)
		c.s = patient(t, func() answer { return here.refresh(c.old.Refresh) })
		c.kid = issuer.KeyID(here.Issuer, c.s.Access)
		for _, s := range here.statements() {
			c.before[s.ID] = true
		}
		dying.set(n)
		what := fmt.Sprintf("killed before message %d", n)
		if n < 0 {
			what = "killed before the answer"
		}
		var steps []string
		acted := func(c *crashRun, r *rig) answer {
			a := patient(t, func() answer { return act(c, r) })
			if r != dying.rig {
				return a
			}
			if dying.dead(a) {
				dying = startChild(t, nats.URL(), keys, 1)
				y.add(1, 0)
			} else {
				steps = dying.set(0)
			}
			return a
		}
		through = check(c, what, acted)
		y.add(0, 0, steps...)
		if n < 0 || t.Failed() {
			if through && n < 0 {
				t.Errorf("%s: it was not killed", what)
			}
			return
		}
	}
}

// check reports whether the operation was not killed.
func (op crashOp) check(c *crashRun, what string, a answer) (through bool) {
	c.t.Helper()
	c.settle()
	key := op.key(c)
	success := max(op.code, 200)
	nothingDone, allDone := state{true, true, false}, state{op.lives, false, true}
	now := c.look(op.scope, key)
	switch {
	case a.networkError != nil && now != nothingDone && now != allDone:
		c.t.Errorf("%s: got %+v, want all or nothing", what, now)
	case a.networkError == nil && (a.status != success || now != allDone):
		c.t.Errorf("not killed: got %d %s and %+v, want %d and all of it", a.status, a.raw, now, success)
	}
	if op.half != nil && op.half(c) && now != allDone {
		c.t.Errorf("%s: half done: %+v", what, now)
	}
	if a.networkError == nil {
		return true
	}
	// Again, at the replica that lives on. Whose own token is dead already is told so.
	if now == allDone && op.lives && op.scope == events.Key {
		return false // the operator's own token is gone with the key
	}
	again := patient(c.t, func() answer { return op.act(c, c.rig) })
	told := now == allDone && again.status == 401 && again.Error == "invalid_token"
	if again.status != success && !told {
		c.t.Errorf("%s: tried again: got %d %s %v, want %d", what, again.status, again.raw, again.networkError, success)
	}
	if op.name == "reuse" && now == nothingDone {
		return false // c.old is two rotations old now, which is reuse all the same
	}
	c.settle()
	if now = c.look(op.scope, op.key(c)); now.refresh != op.lives || now.access || !now.statement {
		c.t.Errorf("%s: tried again: got %+v, want %+v", what, now, allDone)
	}
	return false
}

func checkLogin(c *crashRun, what string, act func(*crashRun, *rig) answer) (through bool) {
	a := act(c, c.child.rig)
	if through = a.networkError == nil; !through {
		a = act(c, c.rig)
	}
	if a.status != 200 {
		c.t.Fatalf("%s: login: got %d %s", what, a.status, a.raw)
	}
	c.alive(what+": the token", a.Access)
	c.want(what+": its refresh", patient(c.t, func() answer { return c.refresh(a.Refresh) }), 200, "")
	c.settle()
	return through
}

// checkRefresh: whoever lost the answer tries again. Where the rotation was stored, the replica that lives on can not tell that
// from theft and ends the session, on both sides. This is the safe side, and it is counted.
func checkRefresh(c *crashRun, what string, act func(*crashRun, *rig) answer, y *tally) (through bool) {
	a := act(c, c.child.rig)
	if a.networkError == nil {
		c.want("not killed", a, 200, "")
		c.want("the successor", patient(c.t, func() answer { return c.refresh(a.Refresh) }), 200, "")
		return true
	}
	switch a = act(c, c.rig); a.status {
	case 200:
		c.alive(what+": the new token", a.Access)
		if c.statement(events.Session, c.s.Sid) {
			c.t.Errorf("%s: a session that lives has a statement", what)
		}
	default:
		c.want(what+": tried again", a, 400, "invalid_grant")
		y.add(0, 1)
		c.settle()
		c.dead(what+": the access token", c.s.Access)
		if !c.statement(events.Session, c.s.Sid) {
			c.t.Errorf("%s: the session ended without a statement", what)
		}
	}
	return false
}

// TestFirstMessage: the crash child sees every message that a NATS client may send.
func TestFirstMessage(t *testing.T) {
	t.Parallel()
	stream := "CONNECT {}\r\nPING\r\nPUB a.b 5\r\nhe\r\no\r\nHPUB c _INBOX.x 12 14\r\nNATS/1.0\r\n\r\nhi\r\nSUB d 1\r\nPUB e 0\r\n\r\nPUB f 3\r\nab"
	var got []string
	for rest := []byte(stream); ; {
		size, subject := firstMessage(rest)
		if size == 0 {
			if string(rest) != "PUB f 3\r\nab" {
				t.Errorf("got the rest %q", rest)
			}
			break
		}
		got, rest = append(got, subject), rest[size:]
	}
	if want := []string{"", "", "a.b", "c", "", "e"}; !slices.Equal(got, want) {
		t.Errorf("got %s, want %s", strings.Join(got, ","), strings.Join(want, ","))
	}
}
