package issuer_test

import (
	"errors"
	"testing"
	"time"

	"github.com/quash-auth/quash/issuer"
)

// TestRecentSessionsDecideNothing: what a replica remembers of a session spares a read, and never an answer: what another replica
// did with the session counts.
func TestRecentSessionsDecideNothing(t *testing.T) {
	origin := time.Now().Truncate(time.Second)
	c := &stopped{at: origin}
	r := start(t, server(t).URL(), func(cfg *issuer.Config) {
		cfg.Now, cfg.MaxStaleness, cfg.RefreshIdle = c.now, 10000*time.Hour, time.Hour
	})
	other := startWith(t, r.nats, r.cfg)
	r.user("ann")
	remembered := func() answer {
		t.Helper()
		s := r.login("ann")
		until(t, "the session is remembered", func() bool { return issuer.Recalls(r.Issuer, s.Refresh) })
		return s
	}

	// Ended at the other, which fails before anybody can hear of it.
	s := remembered()
	issuer.SetFault(other.Issuer, func(at string) error {
		if at == "publish" {
			return errors.New("crash")
		}
		return nil
	})
	if a := other.bearer("/logout", s.Access, ""); a.status < 500 {
		t.Fatalf("logout that fails between its halves: got %d %s", a.status, a.raw)
	}
	issuer.SetFault(other.Issuer, nil)
	r.want("refresh of a session that is ending", r.refresh(s.Refresh), 400, "invalid_grant")

	// Rotated at the other.
	s = remembered()
	next := other.refresh(s.Refresh)
	r.want("the token before", r.refresh(s.Refresh), 400, "invalid_grant")
	r.want("its successor, as that was a theft", other.refresh(next.Refresh), 400, "invalid_grant")

	// Kept alive by the other.
	s = remembered()
	if err := issuer.MoveIdle(within(t), other.Issuer, s.Sid, origin.Add(3*time.Hour)); err != nil {
		t.Fatal(err)
	}
	r.set(c, origin.Add(2*time.Hour))
	if s = r.refresh(s.Refresh); s.status != 200 {
		t.Errorf("refresh of a session that lives longer than remembered: got %d %s", s.status, s.raw)
	}

	// There and back again.
	for range 3 {
		for _, at := range []*rig{r, other, other, r} {
			if s = at.refresh(s.Refresh); s.status != 200 {
				t.Fatalf("refresh: got %d %s", s.status, s.raw)
			}
		}
	}
}

// TestRecentSessionsOfAnotherConnection: revisions begin again in a bucket that was restored from a copy, so what is remembered from
// before a connection was lost is worth nothing.
func TestRecentSessionsOfAnotherConnection(t *testing.T) {
	nats := server(t)
	r := start(t, nats.URL())
	r.user("ann")
	s := r.login("ann")
	until(t, "the session is remembered", func() bool { return issuer.Recalls(r.Issuer, s.Refresh) })
	nats.Restart(t)
	until(t, "the session is forgotten with the connection", func() bool { return !issuer.Recalls(r.Issuer, s.Refresh) })
	r.ready()
	if s = r.refresh(s.Refresh); s.status != 200 {
		t.Fatalf("refresh: got %d %s", s.status, s.raw)
	}
	until(t, "the session is remembered again", func() bool { return issuer.Recalls(r.Issuer, s.Refresh) })
}
