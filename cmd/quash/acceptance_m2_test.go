package main

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestM2_RevokedEverywhere revokes tokens one by one at POST /revoke while twenty
// API nodes are under load, and sees each node refuse each of them from the answer
// on at the latest soon; nobody else's token is ever refused. The times are printed,
// not judged.
func TestM2_RevokedEverywhere(t *testing.T) {
	t.Parallel()
	const nodes, victims, callers = 20, 15, 4
	w := newWorld(t, withUp(nodes))
	innocent := make([]session, callers)
	for i := range innocent {
		innocent[i] = w.login("ann")
	}
	stop := make(chan struct{})
	var load sync.WaitGroup
	var calls, refused atomic.Int64
	for i := range innocent {
		load.Go(func() {
			for n := i; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				calls.Add(1)
				if r := w.call(n%nodes, innocent[i].Access); r.status != 200 {
					refused.Add(1)
					t.Errorf("a token that nobody revoked: %s", r)
					return
				}
			}
		})
	}
	var took []time.Duration
	for range victims {
		s := w.login("ann")
		for n := range nodes {
			if r := w.call(n, s.Access); r.status != 200 {
				t.Errorf("before: %s", r)
			}
		}
		if r := w.form("/revoke", "token", s.Access); r.status != 200 {
			t.Fatalf("revoke: %s", r)
		}
		acked := time.Now()
		last := make([]time.Duration, nodes)
		var all sync.WaitGroup
		for n := range nodes {
			all.Go(func() {
				for {
					asked := time.Since(acked)
					r := w.call(n, s.Access)
					if r.status == 401 {
						return
					}
					if last[n] = asked; r.status != 200 || asked > patience {
						t.Errorf("node %d: %s after %v", n, r, asked)
						return
					}
				}
			})
		}
		all.Wait()
		took = append(took, last...)
		if r := w.tryRefresh(s.Refresh); r.status != 200 {
			t.Errorf("the session, of which only a token was revoked: %s", r)
		}
	}
	close(stop)
	load.Wait()
	slices.Sort(took)
	t.Logf("%d nodes, %d tokens, %d other calls, %d of them refused; last 200 after the answer: p50 %v, p99 %v, max %v",
		nodes, victims, calls.Load(), refused.Load(), took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
}
