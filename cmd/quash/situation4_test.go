package main

import (
	"sync"
	"testing"

	"github.com/quash-auth/quash/events"
)

// TestSituation4_RotationAndReuse is the life of a refresh token against the running program.
func TestSituation4_RotationAndReuse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withIssuer("--access-life", "2s"), withNode("--leeway", "0s"))
	inTime := func(what string, next func() session) (s session) { // a busy machine may show a token when it is over
		t.Helper()
		w.eventually(what+" is accepted", func() bool { s = next(); return w.call(0, s.Access).status == 200 })
		return s
	}
	first := inTime("the token of a login", func() session { return w.login("ann") })
	if r := w.call(0, first.Access+"x"); r.status != 401 {
		t.Errorf("a bad token: got %s, want 401", r)
	}
	last := first
	second := inTime("a new token", func() session { last = w.refresh(last); return last }) // the one before is alive, or was a moment ago
	if second.Refresh == first.Refresh || second.Sid != first.Sid {
		t.Fatalf("refresh: got session %s, want another refresh token and the session %s", second.Sid, first.Sid)
	}
	w.wants(0, second.Access, 401) // at its end
	third := w.refresh(second)
	if n := len(w.statementsOf(first.Sid)); n != 0 {
		t.Fatalf("got %d statements about a session in good order, want none", n)
	}

	// The previous one is dead, and whoever uses it ends the session.
	w.out("the previous refresh token", w.tryRefresh(second.Refresh))
	w.out("the current one after that", w.tryRefresh(third.Refresh))
	w.wants(0, third.Access, 401)
	w.reuseTold(first.Sid)
}

// TestM6_RotationAndReuseDetection: on two replicas and two nodes, a used refresh token ends the session everywhere and says so
// on the stream; two refreshes at once have one winner.
func TestM6_RotationAndReuseDetection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withReplicas(2), withNode(), withNode())
	other := w.login("ann")
	first := w.login("ann")
	second := w.on(1).refresh(first)
	third := w.refresh(second)
	w.wants(1, third.Access, 200)
	w.out("a token of two rotations ago", w.on(1).tryRefresh(first.Refresh))
	w.out("the current one after that", w.tryRefresh(third.Refresh))
	for node := range 2 {
		w.wants(node, first.Access, 401)
		w.wants(node, third.Access, 401)
		w.wants(node, other.Access, 200)
	}
	w.reuseTold(first.Sid)

	for range 10 {
		shared := w.login("ann")
		won := w.both(shared.Refresh)
		if len(won) != 1 {
			t.Fatalf("two refreshes at once: got %d winners, want 1", len(won))
		}
		w.out("the winner's next refresh: two held its token", w.tryRefresh(won[0].Refresh))
		w.wants(0, won[0].Access, 401)
		w.reuseTold(shared.Sid)
	}
}

// TestSituation4_Grace: with the grace, the answer that was lost comes again.
func TestSituation4_Grace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withReplicas(2), withIssuer("--reuse-grace", "30s"))
	first := w.login("ann")
	won := w.both(first.Refresh)
	if len(won) != 2 || won[0].Refresh != won[1].Refresh {
		t.Fatalf("two at once: got %d answers with tokens, want the same successor twice", len(won))
	}
	next := w.refresh(won[0])
	w.out("a token of two rotations ago, within the grace", w.tryRefresh(first.Refresh))
	w.out("the current one then", w.tryRefresh(next.Refresh))
	w.wants(0, next.Access, 401)
	w.reuseTold(first.Sid)
}

// out: the standard answer to a refresh token that is good for nothing.
func (w *world) out(what string, r reply) {
	w.t.Helper()
	if r.status != 400 || r.code() != "invalid_grant" {
		w.t.Errorf("%s: got %s, want 400 invalid_grant", what, r)
	}
}

// both refreshes twice at once, on the first and the last replica, and gives the answers with tokens.
func (w *world) both(refresh string) []session {
	w.t.Helper()
	var answers [2]reply
	var all sync.WaitGroup
	for n := range answers {
		all.Go(func() { answers[n] = w.on(n * (len(w.issuers) - 1)).tryRefresh(refresh) })
	}
	all.Wait()
	var won []session
	for _, r := range answers {
		if r.status == 200 {
			won = append(won, r.session())
		} else {
			w.out("the loser", r)
		}
	}
	return won
}

// statementsOf a session.
func (w *world) statementsOf(sid string) []events.Revocation {
	w.t.Helper()
	var found []events.Revocation
	for _, r := range w.statements() {
		if r.Scope == events.Session && r.Key == sid {
			found = append(found, r)
		}
	}
	return found
}

func (w *world) reuseTold(sid string) {
	w.t.Helper()
	told := w.statementsOf(sid)
	if len(told) != 1 || told[0].By != "system" || told[0].Reason != "refresh token used twice" {
		w.t.Errorf("on the stream: got %+v, want one statement, by system, with its reason", told)
	}
}
