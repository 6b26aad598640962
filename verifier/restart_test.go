package verifier_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/verifier"
)

// life is one run of the node between two restarts.
type life struct {
	v       *verifier.Verifier
	ready   atomic.Bool  // it said so
	applied atomic.Int64 // that many of the acknowledged statements must be in force
}

// TestNoMissAcrossRestarts looks up revoked and unrevoked sessions the whole time,
// while statements are published and extended and the node is restarted again and
// again. From its first moment a new life may refuse to judge, but may not accept
// what was acknowledged before it began, nor what it has applied since. Only
// verdicts of lives that have said they are ready are counted as checks.
func TestNoMissAcrossRestarts(t *testing.T) {
	t.Parallel()
	const lives = 20
	server := natstest.Start(t)
	nc := server.Connect(t)
	ensure(t, nc, events.Layout{})
	p := publisher(t, nc)

	const most = 100_000
	sequences := make([]uint64, most) // of the acknowledged statements; written before acked
	var acked atomic.Int64
	session := func(i int) string { return fmt.Sprintf("session-%d", i) }
	publish := func(i int) bool {
		ack, err := p.Publish(t.Context(), events.Revocation{Issuer: issA, Scope: events.Session, Key: session(i)})
		if err != nil {
			if t.Context().Err() == nil {
				t.Errorf("publish: %v", err)
			}
			return false
		}
		sequences[i] = ack.Sequence
		return true
	}
	for i := range 2000 {
		if !publish(i) {
			t.FailNow()
		}
		acked.Store(int64(i) + 1)
	}

	var current atomic.Pointer[life]
	begin := func() (stop func()) {
		before := acked.Load()
		l := &life{}
		l.applied.Store(before)
		l.v, stop = node(t, server.URL(), nil)
		current.Store(l)
		return stop
	}
	stop := begin()

	var all sync.WaitGroup
	ended := make(chan struct{})
	all.Go(func() { // new statements, and longer lives for old ones
		for i := int(acked.Load()); i < most; i++ {
			select {
			case <-ended:
				return
			default:
			}
			if !publish(i) {
				return
			}
			acked.Store(int64(i) + 1)
			if i%10 == 0 {
				if _, err := p.Publish(t.Context(), events.Revocation{Issuer: issA, Scope: events.Session, Key: session(i / 2)}); err != nil {
					t.Errorf("extend: %v", err)
					return
				}
			}
			if l := current.Load(); l != nil {
				at := l.v.Report().Sequence
				for n := l.applied.Load(); n < acked.Load() && sequences[n] <= at; n = l.applied.Load() {
					l.applied.Store(n + 1)
				}
			}
		}
	})
	var checked, misses, wrong, revoked, clean, unjudged atomic.Int64
	for g := range uint64(2) {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(g, 7))
			sessions := make([]string, 0, most)
			for {
				judged := int64(0)
				for range 1000 {
					l := current.Load()
					n := int(l.applied.Load())
					for len(sessions) < n {
						sessions = append(sessions, session(len(sessions)))
					}
					c := verifier.Claims{Issuer: issA, Session: sessions[rng.IntN(n)], IssuedAt: time.Unix(1_700_000_000, 0)}
					good := rng.IntN(8) == 0
					if good {
						c.Session = "never-revoked"
					}
					ready := l.ready.Load()
					err := l.v.Revoked(c)
					if ready && (err == nil || errors.Is(err, verifier.ErrRevoked)) {
						judged++
					}
					switch {
					case errors.Is(err, verifier.ErrStale):
						unjudged.Add(1)
					case errors.Is(err, verifier.ErrRevoked):
						if good {
							wrong.Add(1)
						}
						revoked.Add(1)
					case err == nil:
						if !good {
							misses.Add(1)
						}
						clean.Add(1)
					default:
						t.Errorf("lookup: %v", err)
						return
					}
				}
				if checked.Add(judged) >= restartChecks {
					return
				}
			}
		})
	}
	for i := range int64(lives) {
		eventually(t, "ready, and asked for a while", func() bool {
			l := current.Load()
			if l.v.Ready() == nil {
				l.ready.Store(true)
			}
			return l.ready.Load() && checked.Load() >= (i+1)*restartChecks/(lives+1)
		})
		stop()
		stop = begin()
	}
	eventually(t, "enough checks", func() bool {
		if l := current.Load(); l.v.Ready() == nil {
			l.ready.Store(true)
		}
		return checked.Load() >= restartChecks
	})
	close(ended)
	all.Wait()
	stop()
	t.Logf("%d checks of ready nodes over %d restarts: %d revoked, %d accepted, %d not judged; %d statements", checked.Load(), lives,
		revoked.Load(), clean.Load(), unjudged.Load(), acked.Load())
	if misses.Load() > 0 {
		t.Errorf("%d lookups accepted a session whose revocation was acknowledged before", misses.Load())
	}
	if wrong.Load() > 0 {
		t.Errorf("%d lookups refused a session that nobody revoked", wrong.Load())
	}
	if clean.Load() < restartChecks/16 || unjudged.Load() == 0 {
		t.Error("the checker hardly looked at ready and unready nodes")
	}
}
