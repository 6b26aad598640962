package issuer_test

import (
	"errors"
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
	r := start(t, server(t).URL())
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
		if _, err := r.Revoke(t.Context(), events.Revocation{Scope: scope, Key: key}); err == nil {
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
			both.Go(func() { _, err = r.Revoke(t.Context(), events.Revocation{Scope: scope, Key: key}) })
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

func TestM6_RotationAndReuse(t *testing.T) {
	r := start(t, server(t).URL())
	r.user("ann")
	first := r.login("ann")
	second := r.refresh(first.Refresh)
	if second.status != 200 || second.Refresh == first.Refresh || second.Sid != first.Sid {
		t.Fatalf("refresh: got %d %s, want 200, a new refresh token, the same session", second.status, second.raw)
	}
	third := r.refresh(second.Refresh)
	r.alive("the current access token", third.Access)
	r.want("the very first token again", r.refresh(first.Refresh), 400, "invalid_grant")
	r.dead("the session's access token after reuse", third.Access)
	r.want("the current refresh token after reuse", r.refresh(third.Refresh), 400, "invalid_grant")
	if n := r.published(events.Session, first.Sid); n != 1 {
		t.Errorf("got %d statements about the session, want 1", n)
	}
	if s := r.statements(); s[0].By != "system" {
		t.Errorf("reuse: got by %q, want system", s[0].By)
	}
}

// TestM6_InventedSecretIsNoReuse: the sid stands in every access token; knowing it must not be enough to end a session.
func TestM6_InventedSecretIsNoReuse(t *testing.T) {
	r := start(t, server(t).URL())
	r.user("ann")
	s := r.login("ann")
	invented := s.Sid + issuer.NewRefreshToken()[len(s.Sid):]
	r.want("an invented secret", r.refresh(invented), 400, "invalid_grant")
	r.want("nonsense", r.refresh("nonsense"), 400, "invalid_grant")
	r.alive("the session", s.Access)
	if a := r.refresh(s.Refresh); a.status != 200 {
		t.Errorf("the true one: got %d %s, want 200", a.status, a.raw)
	}
}

// TestM6_ConcurrentRefresh: one winner; and two holders of one token end the session.
func TestM6_ConcurrentRefresh(t *testing.T) {
	nats := server(t)
	r := start(t, nats.URL())
	other := startWith(t, nats.URL(), r.cfg)
	r.user("ann")
	for range 20 {
		s := r.login("ann")
		var a [2]answer
		var both sync.WaitGroup
		both.Go(func() { a[0] = r.refresh(s.Refresh) })
		both.Go(func() { a[1] = other.refresh(s.Refresh) })
		both.Wait()
		if a[0].status+a[1].status != 600 {
			t.Fatalf("got %d %s and %d %s, want one 200 and one 400", a[0].status, a[0].raw, a[1].status, a[1].raw)
		}
		winner := a[0]
		if a[1].status == 200 {
			winner = a[1]
		}
		r.dead("the winner's access token: somebody else held its refresh token", winner.Access)
		r.want("the winner's refresh token", r.refresh(winner.Refresh), 400, "invalid_grant")
		if n := r.published(events.Session, s.Sid); n != 1 {
			t.Errorf("got %d statements about the session, want 1", n)
		}
	}
}

// TestM6_ConcurrentRefreshWithGrace: with the grace, all get the same successor.
func TestM6_ConcurrentRefreshWithGrace(t *testing.T) {
	r := start(t, server(t).URL(), func(c *issuer.Config) { c.ReuseGrace = 30 * time.Second })
	r.user("ann")
	s := r.login("ann")
	answers := make([]answer, 8)
	var all sync.WaitGroup
	for n := range answers {
		all.Go(func() { answers[n] = r.refresh(s.Refresh) })
	}
	all.Wait()
	for _, a := range answers {
		if a.status != 200 || a.Refresh != answers[0].Refresh {
			t.Errorf("got %d %s, want 200 and the same successor for all", a.status, a.raw)
		}
		r.alive("an access token", a.Access)
	}
	if a := r.refresh(answers[0].Refresh); a.status != 200 {
		t.Errorf("the successor: got %d %s, want 200", a.status, a.raw)
	}
	r.want("the first one, two rotations old", r.refresh(s.Refresh), 400, "invalid_grant")
}

// TestPeerBug17_GraceIsNotExtended: asking again and again within the grace does not move its end.
func TestPeerBug17_GraceIsNotExtended(t *testing.T) {
	c := &clock{}
	r := start(t, server(t).URL(), func(cfg *issuer.Config) {
		cfg.ReuseGrace, cfg.Now, cfg.MaxStaleness = 10*time.Second, c.now, 1000*time.Hour
	})
	r.user("ann")
	s := r.login("ann")
	next := r.refresh(s.Refresh)
	for n := range 3 {
		c.advance(3 * time.Second)
		if a := r.refresh(s.Refresh); a.status != 200 || a.Refresh != next.Refresh {
			t.Fatalf("poll %d within the grace: got %d %s, want the same successor", n, a.status, a.raw)
		}
	}
	c.advance(2 * time.Second)
	r.want("after the grace, 2 s after the last poll", r.refresh(s.Refresh), 400, "invalid_grant")
	r.want("the successor after reuse", r.refresh(next.Refresh), 400, "invalid_grant")
}

func TestSessionLifetimes(t *testing.T) {
	c := &clock{}
	r := start(t, server(t).URL(), func(cfg *issuer.Config) {
		cfg.Now, cfg.MaxStaleness = c.now, 10000*time.Hour
		cfg.AccessLife, cfg.RefreshIdle, cfg.RefreshAbsolute = 10*time.Minute, time.Hour, 90*time.Minute
	})
	r.user("ann")
	idle, s := r.login("ann"), r.login("ann")
	if s.ExpiresIn != 600 || s.IdleEnds < 3590 || s.IdleEnds > 3600 || s.SessionEnds < 5390 || s.SessionEnds > 5400 {
		t.Errorf("login: got %s, want 600, 3600 and 5400 seconds", s.raw)
	}
	c.advance(50 * time.Minute)
	s = r.refresh(s.Refresh)
	if s.status != 200 || s.IdleEnds > 2400 || s.IdleEnds < 2390 || s.SessionEnds != s.IdleEnds {
		t.Errorf("refresh after 50 min: got %d %s, want the idle limit cut to the absolute one", s.status, s.raw)
	}
	c.advance(11 * time.Minute)
	r.want("idle for an hour", r.refresh(idle.Refresh), 400, "invalid_grant")
	c.advance(24 * time.Minute)
	if s = r.refresh(s.Refresh); s.status != 200 || s.ExpiresIn > 300 {
		t.Errorf("5 min before the end: got %d %s, want an access token that ends with the session", s.status, s.raw)
	}
	c.advance(5 * time.Minute)
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

// TestRefreshThatWasNotAnswered: the rotation was stored, the client heard 503 and keeps its token: no theft.
func TestRefreshThatWasNotAnswered(t *testing.T) {
	r := start(t, server(t).URL())
	r.user("ann")
	s := r.login("ann")
	for _, step := range []string{"rotate", "rotated"} {
		issuer.SetFault(r.Issuer, func(at string) error {
			if at == step {
				return errors.Join(issuer.ErrUnavailable, errCrash)
			}
			return nil
		})
		r.want(step+": refresh", r.refresh(s.Refresh), 503, "temporarily_unavailable")
		issuer.SetFault(r.Issuer, nil)
		next := r.refresh(s.Refresh)
		r.want(step+": again", next, 200, "")
		s = next
	}
	r.want("the successor", r.refresh(s.Refresh), 200, "")
	r.want("and then reuse is reuse", r.refresh(s.Refresh), 400, "invalid_grant")
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
			_, err := other.Revoke(t.Context(), events.Revocation{Scope: events.Subject, Key: u.Sub})
			return err
		}
		return nil
	})
	s := r.login("ann")
	if !raced {
		t.Fatal("no race")
	}
	r.alive("the login's token", s.Access)
	if g := claimNumber(t, s.Access, "gen"); g != 2 {
		t.Errorf("got gen %v, want the raised one, 2", g)
	}
	if next := r.refresh(s.Refresh); next.status != 200 {
		t.Errorf("refresh: got %d %s, want 200", next.status, next.raw)
	}

	// A disabling between the reads is seen as well.
	raced = false
	issuer.SetFault(r.Issuer, func(at string) error {
		if at == "session" && !raced {
			raced = true
			return other.Disable(t.Context(), u.Sub, issuer.Cause{})
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
	u, err := r.Users().Update(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	if s = r.refresh(s.Refresh); s.Scope != "write" {
		t.Errorf("after losing a scope: got %d %q, want write", s.status, s.Scope)
	}
	u.Disabled = true
	if _, err := r.Users().Update(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	r.want("refresh while disabled", r.refresh(s.Refresh), 400, "invalid_grant")
}
