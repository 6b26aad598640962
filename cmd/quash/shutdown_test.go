package main

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// TestM19_GracefulShutdown: SIGTERM in the middle of revocations. Every one that was answered 200 is on the stream, every
// request that was accepted is answered, and the process ends well.
func TestM19_GracefulShutdown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withReplicas(2), withIssuer("--revoke-burst", "1000000", "--revoke-every", "1us"))
	sub := claimOf(t, w.login("bob").Access, "sub")
	bearer := w.admin()
	const workers, enough = 8, 60
	var (
		mu    sync.Mutex
		acked = map[string]string{} // ID: key
		half  = make(chan struct{})
		all   sync.WaitGroup
		over  atomic.Bool // the signal is sent
	)
	for n := range workers {
		all.Go(func() {
			s := w.on(1).login("ann")
			for k := 0; ; k++ {
				scope, key := "session", fmt.Sprintf("s-%d-%d", n, k)
				switch k % 3 {
				case 1: // with both halves, which has more steps
					scope, key = "subject", fmt.Sprintf("u-%d-%d", n, k)
				case 2:
					scope, key = "session", s.Sid
					s = w.on(1).login("ann")
				}
				r := w.jsonOnce("POST", "/admin/revocations", bearer, `{"scope":"`+scope+`","key":"`+key+`"}`)
				if r.status == 0 {
					return // the connection was refused or closed
				}
				if r.status == 503 && !over.Load() {
					continue // busy, for another reason
				}
				if r.status != 200 {
					t.Errorf("an accepted request: got %s, want 200", r)
					return
				}
				mu.Lock()
				acked[r.text("id")] = key
				if len(acked) == enough {
					close(half)
				}
				mu.Unlock()
			}
		})
	}
	<-half
	first := w.issuers[0].process
	before := len(first.output())
	over.Store(true)
	if err := first.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	<-first.done
	if first.err != nil || strings.Contains(first.output()[before:], "level=ERROR") {
		t.Errorf("the process ended with %v:\n%s", first.err, lastLines(first.output(), 5))
	}
	stored := map[string]string{}
	for _, x := range w.statements() {
		stored[x.ID] = x.Key
	}
	lost := 0
	for id, key := range acked {
		if stored[id] != key {
			lost++
		}
	}
	if lost > 0 || len(acked) < enough {
		t.Errorf("of %d revocations that were answered 200, %d are not on the stream", len(acked), lost)
	}
	// The other replica goes on, and what was revoked is revoked there.
	if r := w.on(1).json("POST", "/admin/revocations", bearer, `{"scope":"subject","key":"`+sub+`"}`); r.status != 200 {
		t.Errorf("the other replica: got %s, want 200", r)
	}
}
