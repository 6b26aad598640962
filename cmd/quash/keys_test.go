package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/quash-auth/quash/events"
)

// kidOf reads the header of a token.
func kidOf(t testing.TB, token string) string {
	t.Helper()
	head, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		t.Fatal(err)
	}
	var h struct{ Kid string }
	if err := json.Unmarshal(text, &h); err != nil || h.Kid == "" {
		t.Fatalf("a token without kid: %v", err)
	}
	return h.Kid
}

// TestM17_RotateUnderLoad: while users refresh and call two nodes without a pause, the signing key is rotated by two replicas at
// once. Nobody gets a 401. Then the new key is revoked: its tokens die everywhere, those of the old one live.
func TestM17_RotateUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withReplicas(2), withIssuer("--key-delay", "2s"), withNode(), withNode())
	first := w.login("ann")
	old := kidOf(t, first.Access)

	var stop atomic.Bool
	var calls, byNew atomic.Int64
	var load sync.WaitGroup
	for n := range 4 {
		s := w.on(n % 2).login("bob")
		load.Go(func() {
			for round := 0; !stop.Load(); round++ {
				for node := range 2 {
					if r := w.call(node, s.Access); r.status != 200 {
						t.Errorf("under load, after %d calls: node %d answered %s, want 200", calls.Load(), node, r)
						return
					}
					calls.Add(1)
				}
				if kidOf(t, s.Access) != old {
					byNew.Add(1)
				}
				r := w.on((n + round) % 2).tryRefresh(s.Refresh)
				if r.status != 200 {
					t.Errorf("under load: refresh answered %s, want 200", r)
					return
				}
				s = r.session()
			}
		})
	}
	defer func() { stop.Store(true); load.Wait() }()

	var rotated [2]reply
	var both sync.WaitGroup
	admin := w.admin()
	for n := range rotated {
		both.Go(func() { rotated[n] = w.on(n).json("POST", "/admin/keys/rotate", admin, `{"reason":"yearly"}`) })
	}
	both.Wait()
	next := rotated[0].text("kid")
	if rotated[0].status != 200 || rotated[1].status != 200 || next == "" || next == old || rotated[1].text("kid") != next {
		t.Fatalf("two rotations at once: got %s and %s, want one new key", rotated[0], rotated[1])
	}
	w.eventually("both replicas sign with the new key, and users have called with it", func() bool {
		return byNew.Load() > 20 || t.Failed()
	})
	stop.Store(true)
	load.Wait()
	if t.Failed() {
		return
	}
	t.Logf("%d calls, %d rounds with the new key", calls.Load(), byNew.Load())

	w.wants(0, first.Access, 200) // signed by the retired key
	var s session
	w.eventually("a login by the new key", func() bool { s = w.login("ann"); return kidOf(t, s.Access) == next })
	w.wants(1, s.Access, 200)
	r := w.on(1).json("POST", "/admin/keys/"+next+"/revoke", admin, fmt.Sprintf(`{"reason":"stolen","confirm":%q}`, next))
	if r.status != 200 {
		t.Fatalf("revoke: got %s, want 200", r)
	}
	for node := range 2 {
		w.wants(node, s.Access, 401)
		if r := w.call(node, first.Access); r.status != 200 {
			t.Errorf("node %d, a token of the other key: got %s, want 200", node, r)
		}
	}
	if all := w.statements(); all[len(all)-1].Scope != events.Key || all[len(all)-1].Key != next || all[len(all)-1].Reason != "stolen" {
		t.Errorf("on record: got %+v", all[len(all)-1])
	}
	fresh := s
	w.eventually("no replica signs with the revoked key", func() bool { // the other one is told by the stream
		fresh = w.refresh(fresh) // the session is nobody's fault
		return kidOf(t, fresh.Access) != next
	})
	for node := range 2 {
		w.wants(node, fresh.Access, 200)
	}
}
