package issuer_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/issuer"
)

// TestM7_Revocation is RFC 7009.
func TestM7_Revocation(t *testing.T) {
	secret := issuer.NewSecret()
	r := start(t, server(t).URL(), func(c *issuer.Config) {
		c.Clients = []issuer.Client{{ID: "app", Public: true}, {ID: "other", Public: true}, {ID: "web", SecretHash: issuer.HashSecret(secret)}}
	})
	r.user("ann")
	s := r.login("ann")
	ok := func(what string, a answer) {
		t.Helper()
		r.want(what, a, 200, "")
	}
	ok("nonsense", r.form("/revoke", "token", "nonsense"))
	ok("an unknown refresh token", r.form("/revoke", "token", issuer.NewRefreshToken()))
	ok("an invented secret", r.form("/revoke", "token", s.Sid+issuer.NewRefreshToken()[len(s.Sid):]))
	ok("a token with a broken signature", r.form("/revoke", "token", s.Access[:len(s.Access)-4]+"AAAA"))
	r.alive("the session", s.Access)
	r.want("no token", r.form("/revoke"), 400, "invalid_request")
	r.want("another client, access token", r.form("/revoke", "token", s.Access, "client_id", "other"), 400, "unauthorized_client")
	r.want("another client, refresh token", r.form("/revoke", "token", s.Refresh, "client_id", "other"), 400, "unauthorized_client")
	bad := r.request("POST", "/revoke", formType, "token="+s.Refresh)
	bad.SetBasicAuth("web", "wrong")
	a := r.do(bad)
	r.want("bad client secret", a, 401, "invalid_client")
	if !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("bad client secret: got challenge %q, want Basic", a.header.Get("WWW-Authenticate"))
	}
	r.alive("the session after refused requests", s.Access)

	ok("the access token, wrong hint", r.form("/revoke", "token", s.Access, "token_type_hint", "refresh_token"))
	r.dead("the access token", s.Access)
	before := len(r.statements())
	ok("the access token again", r.form("/revoke", "token", s.Access))
	if n := len(r.statements()) - before; n != 0 {
		t.Errorf("revoking again: got %d more statements, want none", n)
	}
	next := r.refresh(s.Refresh)
	r.want("the session lives on: only its token was revoked", next, 200, "")
	ok("the refresh token, wrong hint", r.form("/revoke", "token", next.Refresh, "token_type_hint", "access_token", "client_id", "app"))
	r.dead("the session's access token", next.Access)
	r.want("the refresh token", r.refresh(next.Refresh), 400, "invalid_grant")
	ok("the refresh token again, unknown hint", r.form("/revoke", "token", next.Refresh, "token_type_hint", "saml"))
	third := r.login("ann")
	fourth := r.refresh(third.Refresh)
	ok("a used refresh token", r.form("/revoke", "token", third.Refresh))
	r.dead("its session", fourth.Access)
}

// TestM7_BusDown: 503 means not done, and nothing is half done.
func TestM7_BusDown(t *testing.T) {
	t.Parallel()
	nats := server(t)
	r := start(t, nats.URL(), func(c *issuer.Config) { c.Timeout = 2 * time.Second })
	r.user("root", issuer.ScopeAdmin)
	u := r.user("ann")
	admin, s := r.patientLogin("root"), r.patientLogin("ann")
	nats.Stop()
	for what, a := range map[string]answer{
		"revoke access":  r.form("/revoke", "token", s.Access),
		"revoke refresh": r.form("/revoke", "token", s.Refresh),
		"logout":         r.bearer("/logout", s.Access, ""),
		"admin":          r.revoke(admin.Access, "subject", u.Sub),
		"refresh":        r.refresh(s.Refresh),
		"login":          r.tryLogin("ann", password),
	} {
		r.want(what, a, 503, "temporarily_unavailable")
		if a.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", what)
		}
	}
	nats.Restart(t)
	r.ready()
	r.alive("the access token", s.Access)
	if a := patient(t, func() answer { return r.refresh(s.Refresh) }); a.status != 200 {
		t.Errorf("the refresh token: got %d %s, want 200", a.status, a.raw)
	}
	r.want("revoke now", patient(t, func() answer { return r.form("/revoke", "token", s.Access) }), 200, "")
	r.dead("the access token", s.Access)
}

// TestM19_KilledServer: SIGKILL of NATS while sessions are refreshed and ended: every 200 holds afterwards, and everything else can
// be tried again.
func TestM19_KilledServer(t *testing.T) {
	t.Parallel()
	nats := natstest.StartProcess(t, t.TempDir(), 0)
	l := &logs{}
	r := start(t, nats.URL(), func(c *issuer.Config) { c.Timeout, c.LoginBurst, c.Logger = time.Second, 1000, l.logger() })
	defer func() {
		if t.Failed() {
			t.Log(l)
		}
	}()
	r.user("ann")
	type one struct {
		answer
		acted answer
	}
	refresh := func(a answer) answer { return patient(t, func() answer { return r.refresh(a.Refresh) }) }
	for round := range 3 {
		const n = 24
		sessions := make([]one, n)
		for k := range sessions {
			sessions[k].answer = r.patientLogin("ann")
		}
		done := make(chan struct{}, n)
		for k := range sessions {
			go func() {
				s := &sessions[k]
				if k%2 == 0 {
					s.acted = r.refresh(s.Refresh)
				} else {
					s.acted = r.form("/revoke", "token", s.Refresh)
				}
				done <- struct{}{}
			}()
		}
		for k := range n {
			<-done
			if k == n/4 {
				nats.Kill()
			}
		}
		nats.Restart(t)
		r.ready()
		lost := 0
		for k, s := range sessions {
			switch {
			case k%2 == 0 && s.acted.status == 200:
				r.want("the successor", refresh(s.acted), 200, "")
			case k%2 == 0:
				lost++
				r.want("a refresh that failed", s.acted, 503, "temporarily_unavailable")
				r.want("tried again", refresh(s.answer), 200, "")
			case s.acted.status == 200:
				r.dead("a session that was revoked", s.Access)
				r.want("its refresh", refresh(s.answer), 400, "invalid_grant")
			default:
				lost++
				r.want("a revocation that failed", s.acted, 503, "temporarily_unavailable")
				r.want("tried again", patient(t, func() answer { return r.form("/revoke", "token", s.Refresh) }), 200, "")
				r.dead("a session that was revoked in the end", s.Access)
			}
		}
		t.Logf("round %d: %d of %d requests met the dead server", round, lost, n)
	}
}

// TestM19_KeyPublishedTwice: repair counts a key's statement anew from the time of the repair; that it is stored already, for a
// little less long, holds nothing up.
func TestM19_KeyPublishedTwice(t *testing.T) {
	t.Parallel()
	nats, c := server(t), &clock{}
	r := start(t, nats.URL(), func(cfg *issuer.Config) { cfg.Now, cfg.RepairInterval = c.now, time.Hour })
	r.user("ann")
	kid := issuer.KeyID(r.Issuer, r.login("ann").Access)
	issuer.SetFault(r.Issuer, func(at string) error {
		if at == "published" {
			return errCrash
		}
		return nil
	})
	if _, err := r.Revoke(within(t), events.Revocation{Scope: events.Key, Key: kid}); !errors.Is(err, errCrash) {
		t.Fatalf("got %v, want the crash", err)
	}
	r.stop()
	c.advance(3 * time.Second)
	r.cfg.RepairInterval = 100 * time.Millisecond
	r = startWith(t, nats.URL(), r.cfg)
	until(t, "repaired", func() bool {
		n, err := issuer.Pointers(t.Context(), r.Issuer)
		return err == nil && n == 0
	})
	if n := r.published(events.Key, kid); n != 1 {
		t.Errorf("got %d statements about the key, want 1", n)
	}
}
