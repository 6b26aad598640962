package issuer_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

func TestM3_RevokeSession(t *testing.T) {
	r := start(t, server(t).URL())
	r.user("root", issuer.ScopeAdmin)
	u := r.user("ann")
	admin, phone, laptop := r.login("root"), r.login("ann"), r.login("ann")
	if a := r.revoke(admin.Access, "session", phone.Sid); a.status != 200 || a.ID == "" || a.Sequence == 0 {
		t.Fatalf("revoke: got %d %s, want 200 with id and sequence", a.status, a.raw)
	}
	r.dead("the session's access token", phone.Access)
	r.want("the session's refresh", r.refresh(phone.Refresh), 400, "invalid_grant")
	r.alive("the other session's access token", laptop.Access)
	if a := r.refresh(laptop.Refresh); a.status != 200 {
		t.Errorf("the other session's refresh: got %d %s, want 200", a.status, a.raw)
	}
	if a := r.login("ann"); a.status != 200 {
		t.Errorf("login again: got %d, want 200", a.status)
	}
	last := r.statements()[0]
	if last.By != "admin" || last.Reason != "test" || last.Txn == "" || last.Actor == "" || last.Actor == u.Sub {
		t.Errorf("audit: got %+v, want by admin, the admin's sub, the reason and a txn", last)
	}
}

// TestM4_RevokeAllThenLogin: within the same second, old tokens die and the new one lives, never the reverse.
func TestM4_RevokeAllThenLogin(t *testing.T) {
	r := start(t, server(t).URL(), func(c *issuer.Config) { c.RevokeBurst = 1000 })
	r.user("root", issuer.ScopeAdmin)
	u := r.user("ann")
	admin := r.login("root")
	old := r.login("ann")
	sameSecond := 0
	for n := range 300 {
		began := time.Now().Unix()
		if a := r.revoke(admin.Access, "subject", u.Sub); a.status != 200 {
			t.Fatalf("round %d: revoke: got %d %s", n, a.status, a.raw)
		}
		fresh := r.login("ann")
		r.dead(fmt.Sprintf("round %d: old token", n), old.Access)
		r.alive(fmt.Sprintf("round %d: new token", n), fresh.Access)
		r.want(fmt.Sprintf("round %d: old refresh", n), r.refresh(old.Refresh), 400, "invalid_grant")
		if time.Now().Unix() == began {
			sameSecond++
		}
		if old = r.refresh(fresh.Refresh); old.status != 200 {
			t.Fatalf("round %d: new refresh: got %d %s", n, old.status, old.raw)
		}
		if t.Failed() {
			return
		}
	}
	if sameSecond == 0 {
		t.Error("no round within one second: the test proved nothing")
	}
	t.Logf("%d of 300 rounds began and ended in the same second", sameSecond)
}

// TestM5_RefreshDiesBeforeThePublishing: the refresh side is dead although the statement was never published.
func TestM5_RefreshDiesBeforeThePublishing(t *testing.T) {
	r := start(t, server(t).URL(), func(c *issuer.Config) { c.RepairInterval = time.Hour })
	u := r.user("ann")
	for _, scope := range []events.Scope{events.Session, events.Subject, events.Client, events.Issuer} {
		s := r.login("ann")
		key := map[events.Scope]string{events.Session: s.Sid, events.Subject: u.Sub, events.Client: "quash", events.Issuer: ""}[scope]
		issuer.SetFault(r.Issuer, func(step string) error {
			if step == "publish" {
				return errCrash
			}
			return nil
		})
		if _, err := r.Revoke(within(t), events.Revocation{Scope: scope, Key: key}); err == nil {
			t.Errorf("%v: got nil, want the crash", scope)
		}
		issuer.SetFault(r.Issuer, nil)
		if n := r.published(scope, key); n != 0 {
			t.Errorf("%v: got %d statements on the stream, want none", scope, n)
		}
		r.want(fmt.Sprintf("%v: refresh", scope), r.refresh(s.Refresh), 400, "invalid_grant")
		r.alive("the access token, whose statement is not out", s.Access)
	}
}

// TestPeerBug16_RefreshRacesRevoke: whoever wins, no living token comes of it.
func TestPeerBug16_RefreshRacesRevoke(t *testing.T) {
	t.Parallel()
	nats := server(t)
	r := start(t, nats.URL())
	other := startWith(t, nats.URL(), r.cfg) // another replica, on which the refresh runs
	u := r.user("ann")
	for _, scope := range []events.Scope{events.Session, events.Subject, events.Client, events.Issuer} {
		rounds := 60
		if scope >= events.Client {
			rounds = 3 // each is followed by a wait for the next second
		}
		won := 0
		for n := range rounds {
			s := r.login("ann")
			key := map[events.Scope]string{events.Session: s.Sid, events.Subject: u.Sub, events.Client: "quash", events.Issuer: ""}[scope]
			var refreshed answer
			var err error
			var both sync.WaitGroup
			both.Go(func() { refreshed = other.refresh(s.Refresh) })
			both.Go(func() { _, err = r.Revoke(within(t), events.Revocation{Scope: scope, Key: key}) })
			both.Wait()
			if err != nil {
				t.Fatalf("%v round %d: revoke: %v", scope, n, err)
			}
			r.dead(fmt.Sprintf("%v round %d: first token", scope, n), s.Access)
			r.want(fmt.Sprintf("%v round %d: first refresh token", scope, n), r.refresh(s.Refresh), 400, "invalid_grant")
			if refreshed.status == 200 {
				won++
				r.dead(fmt.Sprintf("%v round %d: token from the race", scope, n), refreshed.Access)
				r.want(fmt.Sprintf("%v round %d: refresh token from the race", scope, n), r.refresh(refreshed.Refresh), 400, "invalid_grant")
			} else {
				r.want(fmt.Sprintf("%v round %d: refresh in the race", scope, n), refreshed, 400, "invalid_grant")
			}
		}
		t.Logf("%v: the refresh won %d of %d races", scope, won, rounds)
	}
}

func TestSessionLifetimes(t *testing.T) {
	c := &stopped{at: time.Now()}
	r := start(t, server(t).URL(), func(cfg *issuer.Config) {
		cfg.Now, cfg.MaxStaleness = c.now, 10000*time.Hour
		cfg.AccessLife, cfg.RefreshIdle, cfg.RefreshAbsolute = 10*time.Minute, time.Hour, 90*time.Minute
	})
	r.user("ann")
	idle, s := r.login("ann"), r.login("ann")
	if s.ExpiresIn != 600 || s.IdleEnds < 3590 || s.IdleEnds > 3600 || s.SessionEnds < 5390 || s.SessionEnds > 5400 {
		t.Errorf("login: got %s, want 600, 3600 and 5400 seconds", s.raw)
	}
	r.set(c, c.now().Add(50*time.Minute))
	s = r.refresh(s.Refresh)
	if s.status != 200 || s.IdleEnds > 2400 || s.IdleEnds < 2390 || s.SessionEnds != s.IdleEnds {
		t.Errorf("refresh after 50 min: got %d %s, want the idle limit cut to the absolute one", s.status, s.raw)
	}
	r.set(c, c.now().Add(11*time.Minute))
	r.want("idle for an hour", r.refresh(idle.Refresh), 400, "invalid_grant")
	r.set(c, c.now().Add(24*time.Minute))
	if s = r.refresh(s.Refresh); s.status != 200 || s.ExpiresIn > 300 {
		t.Errorf("5 min before the end: got %d %s, want an access token that ends with the session", s.status, s.raw)
	}
	r.set(c, c.now().Add(5*time.Minute))
	r.want("past the absolute limit", r.refresh(s.Refresh), 400, "invalid_grant")
}

// TestRestart: users, sessions, keys and revocations are there again.
func TestRestart(t *testing.T) {
	nats := server(t)
	r := start(t, nats.URL())
	r.user("ann")
	kept, gone := r.login("ann"), r.login("ann")
	if a := r.bearer("/logout", gone.Access, ""); a.status != 200 {
		t.Fatalf("logout: got %d %s", a.status, a.raw)
	}
	r.stop()
	nats.Restart(t)
	r = startWith(t, nats.URL(), r.cfg)
	r.alive("a token from before", kept.Access)
	r.dead("a revoked token from before", gone.Access)
	r.want("its refresh", r.refresh(gone.Refresh), 400, "invalid_grant")
	if a := r.refresh(kept.Refresh); a.status != 200 {
		t.Errorf("a session from before: got %d %s, want 200", a.status, a.raw)
	}
	r.login("ann")
}

// TestLoginRacesRevokeAll: a login whose session was stored before a revoke-all and read after it starts anew.
func TestLoginRacesRevokeAll(t *testing.T) {
	nats := server(t)
	r := start(t, nats.URL())
	other := startWith(t, nats.URL(), r.cfg)
	u := r.user("ann")
	raced := false
	issuer.SetFault(r.Issuer, func(at string) error {
		if at == "session" && !raced {
			raced = true
			_, err := other.Revoke(within(t), events.Revocation{Scope: events.Subject, Key: u.Sub})
			return err
		}
		return nil
	})
	s := r.login("ann")
	if !raced {
		t.Fatal("no race")
	}
	r.alive("the login's token", s.Access)
	raised, _, err := issuer.Mark(within(t), r.Issuer, events.Subject, u.Sub)
	if g := claimNumber(t, s.Access, "gen"); err != nil || raised < 2 || g != float64(raised) {
		t.Errorf("got gen %v, want the raised one, %d, %v", g, raised, err)
	}
	if next := r.refresh(s.Refresh); next.status != 200 {
		t.Errorf("refresh: got %d %s, want 200", next.status, next.raw)
	}

	// A disabling between the reads is seen as well.
	raced = false
	issuer.SetFault(r.Issuer, func(at string) error {
		if at == "session" && !raced {
			raced = true
			return other.Disable(within(t), u.Sub, issuer.Cause{})
		}
		return nil
	})
	r.want("login while being disabled", r.tryLogin("ann", password), 403, "access_denied")
}

// TestDisabledElsewhere: a user whom another program disabled in the store, or removed, cannot refresh.
func TestDisabledElsewhere(t *testing.T) {
	r := start(t, server(t).URL())
	u := r.user("ann", "read", "write")
	s := r.login("ann")
	u.Scopes = []string{"write"}
	u, err := r.Users().Update(within(t), u)
	if err != nil {
		t.Fatal(err)
	}
	if s = r.refresh(s.Refresh); s.Scope != "write" {
		t.Errorf("after losing a scope: got %d %q, want write", s.status, s.Scope)
	}
	u.Disabled = true
	if _, err := r.Users().Update(within(t), u); err != nil {
		t.Fatal(err)
	}
	r.want("refresh while disabled", r.refresh(s.Refresh), 400, "invalid_grant")
}

// TestIdentifiersAreNoFlags: subjects and sessions are typed and pasted behind flags.
func TestIdentifiersAreNoFlags(t *testing.T) {
	for range 1000 {
		if id := issuer.Token(16); id[0] == '-' || len(id) != 22 {
			t.Fatalf("got %q", id)
		}
	}
}
