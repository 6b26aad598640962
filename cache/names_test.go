package cache_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quash-auth/quash/cache"
)

// lastingStore keeps a detail until its time is over by the fake clock, and calls asked before each Get.
type lastingStore struct {
	clock   *fakeClock
	asked   func()
	mu      sync.Mutex
	details map[uint64]lasting
}

type lasting struct {
	detail uint64
	until  int64
}

func (s *lastingStore) Set(key, d uint64, ttl time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.details[key] = lasting{d, s.clock.unix.Load() + int64(ttl/time.Second)}
	return true
}

func (s *lastingStore) Get(key uint64) (uint64, bool) {
	if s.asked != nil {
		s.asked()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.details[key]
	return l.detail, ok && l.until >= s.clock.unix.Load()
}

func (*lastingStore) Wait()  {}
func (*lastingStore) Close() {}

func newLasting(t *testing.T) (*cache.Denylist, *lastingStore) {
	t.Helper()
	clock := newFakeClock()
	s := &lastingStore{clock: clock, details: map[uint64]lasting{}}
	d, err := cache.NewWithStore(cache.Config{Now: clock.Now}, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, s
}

// TestEveryNameLivesAsLongAsItsEntry: a statement that makes an entry live longer does so for the names of its other parts.
func TestEveryNameLivesAsLongAsItsEntry(t *testing.T) {
	d, s := newLasting(t)
	now := s.clock.unix.Load()
	mustApply(t, d, cache.Statement{Scope: cache.Subject, Issuer: "i", Key: "k", Before: now, Until: now + 10, Sequence: 1})
	mustApply(t, d, cache.Statement{Scope: cache.Subject, Issuer: "i", Key: "k", Before: 1, Gen: 2, Until: now + 86_400, Sequence: 2})
	mustApply(t, d, cache.Statement{Scope: cache.Subject, Issuer: "i", Key: "k", Before: 1, Until: now + 10*86_400, Sequence: 3})
	d.Settle()
	s.clock.unix.Add(5 * 86_400)
	d.Sweep()
	for iat, want := range map[int64]uint64{now: 1, now + 1: 2} {
		if v := verdict(d, cache.Claims{Issuer: "i", Subject: "k", IssuedAt: iat, HasIssuedAt: true, Gen: 1, HasGen: true}); !v.Revoked || v.Sequence != want {
			t.Errorf("issued at now%+d: %+v, want sequence %d", iat-now, v, want)
		}
	}
	if st := d.Stats(); st.RecordMissing.Lost != 0 {
		t.Errorf("%d names lost", st.RecordMissing.Lost)
	}
}

// TestANameIsThereBeforeItsStatement: in the middle of Apply a token that only the new statement covers is let in or
// denied in its name, never in that of its predecessor.
func TestANameIsThereBeforeItsStatement(t *testing.T) {
	d, s := newLasting(t)
	st := cache.Statement{Scope: cache.Subject, Issuer: "i", Key: "k", Before: 100, Gen: 5, Until: later(), Sequence: 1}
	mustApply(t, d, st)
	d.Settle()
	asked := 0
	s.asked = func() {
		s.asked = nil
		asked++
		if v := verdict(d, cache.Claims{Issuer: "i", Subject: "k", IssuedAt: 150, HasIssuedAt: true}); v.Revoked && v.Sequence != 2 {
			t.Errorf("a token of second 150: %+v, which covers up to 100", v)
		}
	}
	st.Before, st.Sequence = 200, 2 // the same generation: Apply asks the store for its name
	mustApply(t, d, st)
	if asked == 0 {
		t.Fatal("Apply did not ask the store: the test proves nothing")
	}
	if v := verdict(d, cache.Claims{Issuer: "i", Subject: "k", IssuedAt: 150, HasIssuedAt: true}); v.Sequence != 2 {
		t.Errorf("afterwards: %+v", v)
	}
}

// TestNamesBesideApply: the same from another goroutine, with entries that leave and come back while the name of the
// one before is still kept.
func TestNamesBesideApply(t *testing.T) {
	clock := newFakeClock()
	d := newDenylist(t, cache.Config{Now: clock.Now, Grace: time.Second})
	var head atomic.Int64
	var wrong, named atomic.Int64
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
			}
			iat := head.Load() + 1
			v := verdict(d, cache.Claims{Issuer: "i", Subject: "k", IssuedAt: iat, HasIssuedAt: true})
			if v.Revoked {
				named.Add(1)
				if int64(v.Sequence) < iat { // statement n covers up to n
					wrong.Add(1)
				}
			}
		}
	})
	for n := int64(1); n <= 5_000; n++ {
		if n%50 == 0 {
			d.Settle()
		}
		if n%100 == 0 {
			clock.unix.Add(5)
			d.Sweep()
		}
		mustApply(t, d, cache.Statement{Scope: cache.Subject, Issuer: "i", Key: "k", Before: n, Until: clock.unix.Load() + 1, Sequence: uint64(n)})
		head.Store(n)
	}
	close(over)
	wg.Wait()
	if wrong.Load() != 0 {
		t.Errorf("%d of %d verdicts name a statement that does not cover the token, or none", wrong.Load(), named.Load())
	}
}

// TestRefusedLeavesNoName: a statement without room is not remembered.
func TestRefusedLeavesNoName(t *testing.T) {
	d := newDenylist(t, cache.Config{MaxEntries: 1})
	mustApply(t, d, cache.Statement{Scope: cache.Session, Issuer: "i", Key: "a", Until: later(), Sequence: 1})
	d.Settle()
	if err := d.Apply([]cache.Statement{{Scope: cache.Session, Issuer: "i", Key: "b", Until: later(), Sequence: 2}}); err == nil {
		t.Fatal("it was not refused")
	}
	if n := d.Waiting(); n != 0 {
		t.Errorf("%d names wait", n)
	}
}

// TestClosedSetsNoTimer: the timer that was about to write when Close came does not go on.
func TestClosedSetsNoTimer(t *testing.T) {
	d := newDenylist(t, cache.Config{})
	var batch []cache.Statement
	for i := range 1_000 {
		batch = append(batch, cache.Statement{Scope: cache.Session, Issuer: "i", Key: fmt.Sprint(i), Until: later()})
	}
	mustApply(t, d, batch...)
	d.Close()
	d.FireTimer()
	if d.TimerSet() {
		t.Error("the timer is set after Close")
	}
}
