package issuer_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/issuer"
)

// broken is what happens to the NATS server in the middle of an operation, and what makes it well again.
type broken struct {
	name       string
	hurt, heal func(*natstest.Process)
}

// durableOps are one of each way in which an operation is stored; a broken server takes a second each time.
var durableOps = []string{"refresh", "logout", "revoke access token", "revoke subject", "revoke key", "disable", "reuse"}

// TestM19_IssuerNeverAcknowledgesAnUndurableRevocation kills (SIGKILL) or freezes the NATS server at every step of every operation. Once
// it is back: what was answered 200 holds, on both sides; what was not has happened wholly or not at all, and can be
// tried again.
func TestM19_IssuerNeverAcknowledgesAnUndurableRevocation(t *testing.T) {
	t.Parallel()
	for _, b := range []broken{
		{"killed", (*natstest.Process).Kill, func(p *natstest.Process) { p.Restart(t) }},
		{"frozen", (*natstest.Process).Pause, (*natstest.Process).Resume},
	} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			nats := natstest.StartProcess(t, t.TempDir(), 0)
			l := &logs{}
			r := start(t, nats.URL(), func(c *issuer.Config) {
				c.Timeout, c.LoginBurst, c.WideBurst, c.Logger = time.Second, 1000, 1000, l.logger()
			})
			defer func() {
				if t.Failed() {
					t.Log(l)
				}
			}()
			r.user("root", issuer.ScopeAdmin)
			hurt := 0
			refresh := crashOp{name: "refresh", act: func(c *crashRun, r *rig) answer { return r.refresh(c.s.Refresh) }}
			for _, op := range append([]crashOp{refresh}, crashOps...) {
				if !slices.Contains(durableOps, op.name) {
					continue
				}
				for n := 1; hurtOnce(t, r, nats, b, op, n); n++ {
					hurt++
				}
				if t.Failed() {
					return
				}
			}
			t.Logf("%s %d times", b.name, hurt)
		})
	}
}

// hurtOnce does an operation, at whose n-th step NATS breaks. It reports whether there is such a step.
func hurtOnce(t *testing.T, r *rig, nats *natstest.Process, b broken, op crashOp, n int) bool {
	t.Helper()
	c := &crashRun{rig: r, before: map[string]bool{}}
	for name, err := fmt.Sprintf("%s-%d", op.name, n), issuer.ErrUnavailable; err != nil; name += "-" { // it may exist after an error
		if c.user, err = r.CreateUser(t.Context(), name, password); err != nil && !errors.Is(err, issuer.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	c.admin = patient(t, func() answer { return r.tryLogin("root", password) })
	c.old = patient(t, func() answer { return r.tryLogin(c.user.Name, password) })
	c.s = patient(t, func() answer { return r.refresh(c.old.Refresh) })
	if c.admin.status != 200 || c.s.status != 200 {
		t.Fatalf("prepare %s: got %d and %d %s, want 200", op.name, c.admin.status, c.s.status, c.s.raw)
	}
	c.kid = issuer.KeyID(r.Issuer, c.s.Access)
	for _, s := range r.statements() {
		c.before[s.ID] = true
	}
	var mu sync.Mutex // guards at, done
	at := ""
	var done []string
	issuer.SetFault(r.Issuer, func(step string) error {
		mu.Lock()
		defer mu.Unlock()
		if done = append(done, step); len(done) == n {
			at = step
			b.hurt(nats)
		}
		return nil
	})
	a := op.act(c, r)
	issuer.SetFault(r.Issuer, nil)
	mu.Lock()
	defer mu.Unlock()
	if at == "" {
		return false
	}
	b.heal(nats)
	r.ready()
	what := fmt.Sprintf("%s: NATS %s at %s", op.name, b.name, at)
	if op.name == "refresh" {
		refreshHolds(c, what, a)
		return true
	}
	c.settle()
	key := op.key(c)
	nothingDone, allDone := state{true, true, false}, state{op.lives, false, true}
	success := max(op.code, 200)
	now := c.look(op.scope, key)
	switch {
	case a.status == success && !slices.Contains(done[:n-1], "publish"): // repair may have been faster
		t.Errorf("%s: answered %d before the statement was stored", what, a.status)
	case a.status == success && now != allDone:
		t.Errorf("%s: answered %d, but %+v", what, a.status, now)
	case a.status != success && a.status != 503:
		t.Errorf("%s: got %d %s %v, want %d or 503", what, a.status, a.raw, a.networkError, success)
	case now != allDone && now != nothingDone:
		t.Errorf("%s: got %+v, want all or nothing", what, now)
	}
	if now == allDone && op.lives && op.scope == events.Key {
		return true // the operator's own token is gone with the key
	}
	again := patient(t, func() answer { return op.act(c, r) })
	if told := now == allDone && again.status == 401; again.status != success && !told {
		t.Errorf("%s: tried again: got %d %s %v, want %d", what, again.status, again.raw, again.networkError, success)
	}
	return true
}

// refreshHolds: whoever heard 200 has a good successor, and whoever heard 503 tries again and gets one.
func refreshHolds(c *crashRun, what string, a answer) {
	c.t.Helper()
	if a.status != 200 {
		c.want(what, a, 503, "temporarily_unavailable")
		a = patient(c.t, func() answer { return c.refresh(c.s.Refresh) })
		c.want(what+": tried again", a, 200, "")
	}
	c.alive(what+": the new token", a.Access)
	c.want(what+": the successor", patient(c.t, func() answer { return c.refresh(a.Refresh) }), 200, "")
}

func (r *rig) patientLogin(name string) answer {
	r.t.Helper()
	a := patient(r.t, func() answer { return r.tryLogin(name, password) })
	r.want("login of "+name, a, 200, "")
	return a
}

// patient asks again while the issuer cannot answer: on a busy machine its Timeout of a second may be too short for what has
// nothing to do with the test.
func patient(t testing.TB, ask func() answer) (a answer) {
	t.Helper()
	until(t, "the issuer answers", func() bool { a = ask(); return a.status != 503 })
	return a
}
