package issuer_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/quash-auth/quash/issuer"
)

// get is a GET with a bearer.
func (r *rig) get(path, token string) answer {
	r.t.Helper()
	return r.with("GET", path, token)
}

// held makes every list wait where NATS is asked, until release; at gets one value for each that came there.
func (r *rig) held() (at chan struct{}, release func()) {
	at, let := make(chan struct{}, 100), make(chan struct{})
	issuer.SetFault(r.Issuer, func(step string) error {
		if step == "list" {
			at <- struct{}{}
			select {
			case <-let:
			case <-time.After(deadline): // somebody waits for what should have been refused
			}
		}
		return nil
	})
	release = sync.OnceFunc(func() { issuer.SetFault(r.Issuer, nil); close(let) })
	r.t.Cleanup(release)
	return at, release
}

// TestListsAreBounded: each list takes a consumer of NATS. One user or operator has two at once, all together so many, and the
// others are answered at once.
func TestListsAreBounded(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL())
	issuer.SetLists(r.Issuer, 5)
	r.user("root", issuer.ScopeAdmin)
	admin, tokens := r.login("root").Access, map[string]string{}
	for _, name := range []string{"ann", "bob", "cleo"} {
		r.user(name)
		tokens[name] = r.login(name).Access
	}
	dry := func() answer {
		return r.bearer("/admin/revocations", admin, `{"scope":"client","key":"quash","dry_run":true}`)
	}
	at, release := r.held()
	answers := make(chan answer, 10)
	ask := func(f func() answer) { go func() { answers <- f() }(); <-at }
	own := func(name string) func() answer { return func() answer { return r.get("/sessions", tokens[name]) } }
	refused := func(what string, a answer) {
		t.Helper()
		r.want(what, a, 429, "temporarily_unavailable")
		if a.header.Get("Retry-After") != "1" {
			t.Errorf("%s: Retry-After: got %q, want 1", what, a.header.Get("Retry-After"))
		}
	}
	ask(own("ann"))
	ask(own("ann"))
	refused("a third list of ann's", own("ann")())
	ask(dry)
	ask(func() answer { return r.get("/admin/users", admin) })
	refused("a third of the operator: sessions", r.get("/admin/sessions?client_id=quash", admin))
	refused("a third of the operator: users", r.get("/admin/users", admin))
	refused("a third of the operator: preview", dry())
	ask(own("bob"))
	all := own("cleo")()
	r.want("more than all together", all, 503, "temporarily_unavailable")
	if all.header.Get("Retry-After") == "" {
		t.Error("more than all together: no Retry-After")
	}
	if a := r.get("/admin/users?username=ann", admin); a.status != http.StatusOK {
		t.Errorf("one user by her name, which is no list: got %d %s", a.status, a.raw)
	}
	release()
	for range 5 {
		r.want("a list that was granted", <-answers, 200, "")
	}
	for _, f := range []func() answer{own("ann"), own("ann"), own("cleo"), dry} {
		r.want("afterwards", f(), 200, "")
	}
}

// TestListsOfOneUserInARow are bounded as well.
func TestListsOfOneUserInARow(t *testing.T) {
	t.Parallel()
	c := &stopped{at: time.Now().Truncate(time.Second)}
	r := start(t, server(t).URL(), func(cfg *issuer.Config) {
		cfg.Now, cfg.MaxStaleness, cfg.OwnBurst, cfg.OwnEvery = c.now, time.Hour, 3, time.Second
	})
	r.user("ann")
	r.user("bob")
	ann, bob := r.login("ann").Access, r.login("bob").Access
	for range 3 {
		r.want("a list", r.get("/sessions", ann), 200, "")
	}
	a := r.get("/sessions", ann)
	r.want("one too many", a, 429, "temporarily_unavailable")
	if got := a.header.Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After: got %q, want 1", got)
	}
	r.want("somebody else's", r.get("/sessions", bob), 200, "")
	r.want("her logout", r.bearer("/logout", ann, ""), 200, "")
	if s := r.Stats(); s.ListsHasty != 1 || s.TokensHasty != 0 || s.LoginsHasty != 0 {
		t.Errorf("got %+v, want one hasty list", s)
	}
	r.login("ann") // a thief with a token does not keep her from logging in
	r.set(c, c.now().Add(time.Second))
	r.want("a second later", r.get("/sessions", r.login("ann").Access), 200, "")
}
