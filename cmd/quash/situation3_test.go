package main

import (
	"testing"
	"time"
)

// limits are short ones for a test on the real clock.
type limits struct{ life, idle, absolute time.Duration }

// TestSituation3_SlidingSession: activity extends the session up to its absolute end, idling ends it, the answers say
// when, and who keeps the old token gains nothing.
//
// The limits run on the real clock. The test never says how long something takes: it goes on until the issuer says that
// the session is over, and then asks its own clock which limit can have been the reason. A machine that stood still
// for longer than the idle limit proves nothing, so that is tried again.
func TestSituation3_SlidingSession(t *testing.T) {
	t.Parallel()
	l := limits{life: 2 * time.Second, idle: 4 * time.Second, absolute: 9 * time.Second}
	w := newWorld(t, withIssuer("--access-life", l.life.String(), "--refresh-idle", l.idle.String(), "--refresh-absolute", l.absolute.String()),
		withNode("--leeway", "0s"))

	lazy := w.login("ann") // the client that does nothing
	lazyOut := time.Now().Add(l.idle + time.Second)
	for !l.kept(w) {
	}
	for !l.slid(w) {
	}
	if left := time.Until(lazyOut); left > 0 {
		<-time.After(left) // the login's own limit, not a guess
	}
	w.out("refresh after idling", w.tryRefresh(lazy.Refresh))
	w.wants(0, lazy.Access, 401)
	if n := len(w.statementsOf(lazy.Sid)); n != 0 {
		t.Errorf("got %d statements about a session that idled, want none: its tokens are over", n)
	}
}

// kept: a client that was given newer tokens goes on with the first ones. It gives false if the machine was too slow to
// tell anything.
func (l limits) kept(w *world) bool {
	w.t.Helper()
	old := w.login("ann")
	asked := time.Now()
	next := w.tryRefresh(old.Refresh).session()
	w.wants(0, old.Access, 401) // at its own end
	again := w.tryRefresh(next.Refresh)
	if next.status != 200 || again.status != 200 {
		if time.Since(asked) < l.idle-time.Second {
			w.t.Fatalf("a session in use: got %s, want 200", again)
		}
		return false
	}
	w.out("the old refresh token, whose session goes on", w.tryRefresh(old.Refresh))
	return true
}

// slid refreshes until the session is over. It gives false if the machine was too slow to tell why.
func (l limits) slid(w *world) bool {
	w.t.Helper()
	began := time.Now()
	r := w.login("ann")
	first, refreshed := r, began // when the last request that succeeded was sent
	for {
		l.check(w, r)
		if a := w.call(0, r.Access); a.status != 200 && time.Now().Unix() < instantOf(w.t, r.Access, "exp") {
			w.t.Fatalf("a new access token: got %s, want 200", a)
		}
		w.wants(0, r.Access, 401) // used up: refreshing works whether the access token is alive or not
		asked := time.Now()
		next := w.tryRefresh(r.Refresh).session()
		answered := time.Now()
		if next.status == 200 {
			if next.Sid != first.Sid {
				w.t.Fatalf("got session %s, want %s again", next.Sid, first.Sid)
			}
			if next.seconds("session_expires_in") > r.seconds("session_expires_in") {
				w.t.Fatalf("session_expires_in rose from %d to %d: the absolute end moved", r.seconds("session_expires_in"), next.seconds("session_expires_in"))
			}
			r, refreshed = next, asked
			continue
		}
		w.out("at the end", next.reply)
		if answered.Sub(refreshed) >= l.idle-time.Second { // whole seconds
			w.t.Logf("%v between two requests: the idle limit may have ended it, once more", answered.Sub(refreshed))
			return false
		}
		if lived := refreshed.Sub(began); lived <= l.idle {
			w.t.Fatalf("the session lived %v and was never idle for %v: activity did not extend it", lived, l.idle)
		}
		if lived := answered.Sub(began); lived < l.absolute-time.Second {
			w.t.Fatalf("the session ended after %v, before its absolute limit %v", lived, l.absolute)
		}
		return true
	}
}

// check looks at what the page can tell its user.
func (l limits) check(w *world, r session) {
	w.t.Helper()
	expires, idle, end := r.seconds("expires_in"), r.seconds("idle_expires_in"), r.seconds("session_expires_in")
	switch {
	case expires < 1 || expires > int64(l.life/time.Second) || expires > end+1: // one is rounded down
		w.t.Fatalf("expires_in: got %d, want at most %v and not beyond the session's end in %d", expires, l.life, end)
	case idle < 0 || idle > int64(l.idle/time.Second) || idle > end:
		w.t.Fatalf("idle_expires_in: got %d, want at most %v and not beyond the session's end in %d", idle, l.idle, end)
	case end > int64(l.absolute/time.Second):
		w.t.Fatalf("session_expires_in: got %d, want at most %v", end, l.absolute)
	}
}
