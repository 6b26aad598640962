package issuer_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

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
		r.ends("the winner's access token: somebody else held its refresh token", winner.Access) // perhaps by the other replica
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
	c := &stopped{at: time.Now()}
	r := start(t, server(t).URL(), func(cfg *issuer.Config) {
		cfg.ReuseGrace, cfg.Now, cfg.MaxStaleness = 10*time.Second, c.now, 1000*time.Hour
	})
	r.user("ann")
	s := r.login("ann")
	next := r.refresh(s.Refresh)
	for n := range 3 {
		r.set(c, c.now().Add(3*time.Second))
		if a := r.refresh(s.Refresh); a.status != 200 || a.Refresh != next.Refresh {
			t.Fatalf("poll %d within the grace: got %d %s, want the same successor", n, a.status, a.raw)
		}
	}
	r.set(c, c.now().Add(2*time.Second))
	r.want("after the grace, 2 s after the last poll", r.refresh(s.Refresh), 400, "invalid_grant")
	r.want("the successor after reuse", r.refresh(next.Refresh), 400, "invalid_grant")
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

// TestGraceOfReplicasWithClocksApart: the second of two refreshes at once gets the same successor, although its replica took its
// time before the first one did, or has a clock that is behind.
func TestGraceOfReplicasWithClocksApart(t *testing.T) {
	r := start(t, server(t).URL(), func(c *issuer.Config) { c.ReuseGrace = 30 * time.Second })
	for _, d := range []time.Duration{5 * time.Second, -5 * time.Second} {
		cfg := r.cfg
		cfg.Now = func() time.Time { return time.Now().Add(d) }
		other := startWith(t, r.nats, cfg)
		name := "ann" + d.String()
		r.user(name)
		s := r.login(name)
		first, second := other.refresh(s.Refresh), r.refresh(s.Refresh)
		if first.status != 200 || second.Refresh != first.Refresh {
			t.Errorf("a clock that is %v ahead: got %d and then %d %s, want the same successor", d, first.status, second.status, second.raw)
		}
	}
	cfg := r.cfg
	cfg.Now, cfg.MaxStaleness = func() time.Time { return time.Now().Add(5 * time.Minute) }, 10*time.Minute
	other := startWith(t, r.nats, cfg)
	r.user("bob")
	s := r.login("bob")
	if a := other.refresh(s.Refresh); a.status != 200 {
		t.Fatalf("refresh: got %d %s", a.status, a.raw)
	}
	r.want("beyond the grace, whatever the sign", r.refresh(s.Refresh), 400, "invalid_grant")
}
