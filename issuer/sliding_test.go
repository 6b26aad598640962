package issuer_test

import (
	"testing"
	"time"

	"github.com/quash-auth/quash/issuer"
)

// TestSituation3_BoundarySeconds: whatever is asked for at the edge of a limit, no token outlives its session.
func TestSituation3_BoundarySeconds(t *testing.T) {
	// A clock that stands still at a whole second, and moves only when it is told to.
	origin := time.Now().Truncate(time.Second)
	c := &stopped{at: origin}
	r := start(t, server(t).URL(), func(cfg *issuer.Config) {
		cfg.Now, cfg.MaxStaleness = c.now, 10000*time.Hour
		cfg.AccessLife, cfg.RefreshIdle, cfg.RefreshAbsolute = 10*time.Minute, time.Hour, 90*time.Minute
	})
	r.user("ann")

	idle := r.login("ann")
	limits(t, "login", idle, 600, 3600, 5400)
	r.set(c, origin.Add(time.Hour-time.Second))
	s := r.refresh(idle.Refresh)
	limits(t, "the last second before the idle limit", s, 600, 1801, 1801)
	r.dead("the access token of an hour ago, whose session goes on", idle.Access)

	r.set(c, origin.Add(80*time.Minute))
	s = r.refresh(s.Refresh)
	limits(t, "a whole access life before the end", s, 600, 600, 600)
	r.set(c, origin.Add(80*time.Minute+time.Second))
	s = r.refresh(s.Refresh)
	limits(t, "one second less", s, 599, 599, 599)
	end := origin.Add(90 * time.Minute).Unix()
	if exp := claimNumber(t, s.Access, "exp"); int64(exp) != end {
		t.Errorf("exp: got %v, want the session's end %v", exp, end)
	}

	r.set(c, origin.Add(90*time.Minute-time.Millisecond))
	s = r.refresh(s.Refresh)
	if s.status != 200 || s.ExpiresIn != 1 || s.SessionEnds != 0 || int64(claimNumber(t, s.Access, "exp")) != end {
		t.Errorf("within the last second: got %d %s, want a token of one second", s.status, s.raw)
	}
	r.alive("it", s.Access)
	r.set(c, origin.Add(90*time.Minute))
	r.dead("it at the session's end", s.Access)
	r.want("refresh at the session's end", r.refresh(s.Refresh), 400, "invalid_grant")

	idle = r.tryLogin("ann", password)
	r.set(c, origin.Add(90*time.Minute+time.Hour))
	r.want("refresh at the idle limit", r.refresh(idle.Refresh), 400, "invalid_grant")
	if n := len(r.statements()); n != 0 {
		t.Errorf("got %d statements, want none: limits need no publishing, no access token outlives them", n)
	}
}

func limits(t *testing.T, what string, a answer, access, idle, session int64) {
	t.Helper()
	if a.status != 200 || a.ExpiresIn != access || a.IdleEnds != idle || a.SessionEnds != session {
		t.Errorf("%s: got %d %s, want expires_in %d, idle_expires_in %d, session_expires_in %d", what, a.status, a.raw, access, idle, session)
	}
}
