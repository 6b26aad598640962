package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/verifier/refresh"
)

// outcome is what a client of the API comes to.
type outcome string

const (
	goesOn    outcome = "goes on"     // 200
	hasToWait outcome = "waits"       // 503
	logsIn    outcome = "is out"      // 400 invalid_grant
	barred    outcome = "is barred"   // 403 at the login
	gaveUp    outcome = "surfaces it" // anything else
)

// bare is a client of a few lines, in any language: what the README's table says, and nothing else.
type bare struct {
	w               *world
	user            string
	access, refresh string
	steps           []string
}

func (b *bare) step(what string, r reply) {
	if r.status != 503 {
		b.steps = append(b.steps, fmt.Sprintf("%s %d %s", what, r.status, r.code()))
	}
}

// call waits as long as it has to.
func (b *bare) call() (o outcome) {
	b.w.t.Helper()
	b.w.eventually("the client need not wait", func() bool { o = b.callOnce(); return o != hasToWait })
	return o
}

func (b *bare) callOnce() outcome {
	for tried := false; ; tried = true {
		r := b.w.call(0, b.access)
		b.step("api", r)
		switch {
		case r.status == 200:
			return goesOn
		case r.status == 503:
			return hasToWait
		case r.status != 401 || !strings.Contains(r.header.Get("WWW-Authenticate"), `error="invalid_token"`) || tried:
			return gaveUp
		}
		t := b.w.formOnce("/token", "grant_type", "refresh_token", "refresh_token", b.refresh)
		b.step("refresh", t)
		switch {
		case t.status == 503:
			return hasToWait
		case t.status == 400 && t.code() == "invalid_grant":
			b.access, b.refresh = "", ""
			return logsIn
		case t.status != 200:
			return gaveUp
		}
		b.access, b.refresh = t.session().Access, t.session().Refresh
	}
}

func (b *bare) login() outcome {
	r := b.w.tryLogin(b.user, b.w.password(b.user))
	b.step("login", r)
	switch r.status {
	case 200:
		b.access, b.refresh = r.session().Access, r.session().Refresh
		return goesOn
	case 403:
		return barred
	}
	return gaveUp
}

// took returns the steps since the last call of took.
func (b *bare) took() string {
	text := strings.Join(b.steps, ", ")
	b.steps = nil
	return text
}

// TestSituation1_RenewOrOut: a business rule ends something before the token expires, and the client can tell from
// standard answers alone whether to renew or to go away: the RoundTripper that we ship, and a bare one.
func TestSituation1_RenewOrOut(t *testing.T) {
	t.Parallel()
	broker := natstest.StartProcess(t, t.TempDir(), 0)
	w := newWorld(t, withNATS(broker.URL()), withNode("--max-staleness", "8s"), withNode("--scope", "orders:write"))
	business, err := events.NewPublisher(events.PublisherConfig{Conn: w.conn, By: "policy"})
	if err != nil {
		t.Fatal(err)
	}
	iss := w.issuers[0].url()
	publish := func(r events.Revocation) {
		t.Helper()
		r.Issuer, r.Reason, r.Actor = iss, "rule 7", "fraud engine"
		if _, err := business.Publish(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	admin := func(path, body string) {
		t.Helper()
		if r := w.json("POST", path, w.admin(), body); r.status != 200 {
			t.Fatalf("POST %s: %s", path, r)
		}
	}
	clientOf := func(user string) (*bare, session) {
		t.Helper()
		b := &bare{w: w, user: user}
		if b.login() != goesOn || b.call() != goesOn {
			t.Fatalf("login of %s: %s", user, b.took())
		}
		b.took()
		return b, w.login(user)
	}
	ids := func(access string) (sid, sub, jti string) {
		return fmt.Sprint(claim(access, "sid")), fmt.Sprint(claim(access, "sub")), fmt.Sprint(claim(access, "jti"))
	}

	for _, by := range []string{"events.Publisher", "the admin API"} {
		// Renew: only the access token is over. 401, one refresh, 200.
		b, s := clientOf("ann")
		shipped, _, wire := w.shipped(s, nil)
		for _, access := range []string{b.access, s.Access} {
			_, _, jti := ids(access)
			if by == "events.Publisher" {
				publish(events.Revocation{Scope: events.Token, Key: jti})
			} else {
				admin("/admin/revocations", `{"scope":"token","key":"`+jti+`","reason":"rule 7"}`)
			}
			w.wants(0, access, 401)
		}
		if got := b.call(); got != goesOn {
			t.Errorf("%s, renew: the bare client %s", by, got)
		}
		if steps := b.took(); steps != "api 401 , refresh 200 , api 200 " {
			t.Errorf("%s, renew: the bare client went %s", by, steps)
		}
		if status, err := w.fetch(shipped, 0); err != nil || status != 200 || wire.refreshes.Load() != 1 || wire.refused.Load() != 1 {
			t.Errorf("%s, renew: the shipped client got %d, %v after %d refreshes", by, status, err, wire.refreshes.Load())
		}

		// Out: the session is over. 401, refresh 400 invalid_grant, and a login helps.
		sid, _, _ := ids(b.access)
		other, _, _ := ids(s.Access)
		for _, key := range []string{other, sid} { // who knows of the last knows of both
			if by == "events.Publisher" {
				publish(events.Revocation{Scope: events.Session, Key: key})
			} else {
				admin("/admin/revocations", `{"scope":"session","key":"`+key+`","reason":"rule 7"}`)
			}
		}
		w.wants(0, s.Access, 401)
		w.wants(0, b.access, 401)
		w.eventually("the issuer has heard of it", func() bool { return len(w.statements()) > 0 && w.tryRefresh(b.refresh).status == 400 })
		if got := b.call(); got != logsIn {
			t.Errorf("%s, out: the bare client %s", by, got)
		}
		if steps := b.took(); steps != "api 401 , refresh 400 invalid_grant" {
			t.Errorf("%s, out: the bare client went %s", by, steps)
		}
		before := wire.refreshes.Load()
		for range 3 {
			if _, err := w.fetch(shipped, 0); !errors.Is(err, refresh.ErrSignedOut) {
				t.Errorf("%s, out: the shipped client got %v, want ErrSignedOut", by, err)
			}
		}
		if n := wire.refreshes.Load() - before; n != 1 {
			t.Errorf("%s, out: the shipped client refreshed %d times, want once", by, n)
		}
		if got := b.login(); got != goesOn {
			t.Errorf("%s, out: the login of the bare client %s", by, got)
		}
		if got := b.call(); got != goesOn {
			t.Errorf("%s, after the login: the bare client %s", by, got)
		}
		b.took()
	}

	// Barred: the account is disabled. The same two answers, and then 403 at the login.
	b, s := clientOf("bob")
	shipped, _, _ := w.shipped(s, nil)
	_, sub, _ := ids(b.access)
	admin("/admin/users/"+sub+"/disable", `{"reason":"fraud"}`)
	w.wants(0, b.access, 401)
	if got := b.call(); got != logsIn {
		t.Errorf("barred: the bare client %s", got)
	}
	w.wants(0, s.Access, 401)
	if _, err := w.fetch(shipped, 0); !errors.Is(err, refresh.ErrSignedOut) {
		t.Errorf("barred: the shipped client got %v, want ErrSignedOut", err)
	}
	if got := b.login(); got != barred {
		t.Errorf("barred: the login %s: %s", got, b.took())
	}

	// The other rows of the README's table.
	if r := w.call(0, ""); r.status != 401 || strings.Contains(r.header.Get("WWW-Authenticate"), "error=") {
		t.Errorf("no token: %s, want 401 without an error code", r)
	}
	good, idle := clientOf("ann")
	shipped, _, wire := w.shipped(idle, nil)
	const scope = `error="insufficient_scope", scope="orders:write"`
	if r := w.call(1, good.access); r.status != 403 || !strings.Contains(r.header.Get("WWW-Authenticate"), scope) {
		t.Errorf("too little scope: %s, want 403 and %s", r, scope)
	}
	if status, err := w.fetch(shipped, 1); err != nil || status != 403 || wire.refreshes.Load() != 0 {
		t.Errorf("too little scope: the shipped client got %d, %v after %d refreshes, want 403 after none", status, err, wire.refreshes.Load())
	}
	broker.Pause() // nobody hears of revocations any more
	w.wants(0, good.access, 503)
	if r := w.call(0, good.access); r.header.Get("Retry-After") == "" {
		t.Errorf("a node that cannot judge: %s without Retry-After", r)
	}
	if got := good.callOnce(); got != hasToWait {
		t.Errorf("a node that cannot judge: the bare client %s: %s", got, good.took())
	}
	if status, err := w.fetchOnce(shipped, 0); err != nil || status != 503 || wire.refreshes.Load() != 0 {
		t.Errorf("a node that cannot judge: the shipped client got %d, %v after %d refreshes, want 503 after none", status, err, wire.refreshes.Load())
	}
	broker.Resume()
	w.wants(0, good.access, 200) // the token was good all the time
	w.issuers[0].ready()
}

// TestM20_OneRefreshForAll: the shipped client against the real issuer and API: one refresh for 100 requests that were
// refused at once, no loop when the new token fails as well, and an end at invalid_grant.
func TestM20_OneRefreshForAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withNode(), withNode("--audience", "elsewhere"))
	s := w.login("ann")
	client, transport, wire := w.shipped(s, nil)
	jti := fmt.Sprint(claim(s.Access, "jti"))
	if r := w.json("POST", "/admin/revocations", w.admin(), `{"scope":"token","key":"`+jti+`"}`); r.status != 200 {
		t.Fatalf("revoke: %s", r)
	}
	w.wants(0, s.Access, 401)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if status, err := w.fetch(client, 0); err != nil || status != 200 {
				t.Errorf("got %d, %v; want 200", status, err)
			}
		})
	}
	all.Wait()
	if n := wire.refreshes.Load(); n != 1 {
		t.Errorf("%d refreshes for 100 refused requests, want 1", n)
	}

	// The second node refuses every token of this audience, fresh ones too.
	for range 20 {
		if status, err := w.fetch(client, 1); err != nil || status != 401 {
			t.Fatalf("got %d, %v; want the 401 itself", status, err)
		}
	}
	if n := wire.refreshes.Load(); n > 2 {
		t.Errorf("%d refreshes because of an API that refuses fresh tokens, want 1", n-1)
	}

	if r := w.json("POST", "/logout", transport.Tokens().Access, ""); r.status != 200 {
		t.Fatalf("logout: %s", r)
	}
	w.wants(0, transport.Tokens().Access, 401)
	before := wire.refreshes.Load()
	for range 50 {
		all.Go(func() {
			if _, err := w.fetch(client, 0); !errors.Is(err, refresh.ErrSignedOut) {
				t.Errorf("got %v, want ErrSignedOut", err)
			}
		})
	}
	all.Wait()
	if n := wire.refreshes.Load() - before; n != 1 {
		t.Errorf("%d refreshes after the end of the session, want 1", n)
	}
}
