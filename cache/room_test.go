package cache_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quash-auth/quash/cache"
)

// slowStore is a ristretto whose writer can be held up.
type slowStore struct {
	cache.Store
	entered chan struct{}
	hold    sync.Mutex
	sets    atomic.Int64
}

func (s *slowStore) Set(k, d uint64, ttl time.Duration) bool {
	select {
	case s.entered <- struct{}{}:
	default:
	}
	s.hold.Lock()
	defer s.hold.Unlock()
	s.sets.Add(1)
	return s.Store.Set(k, d, ttl)
}

// TestApplyDoesNotWaitForRistretto: while ristretto is stuck, statements are acknowledged, enforced and named; once it
// goes on, it gets all of them, the newest last, and nothing is held beside it any more.
func TestApplyDoesNotWaitForRistretto(t *testing.T) {
	real, err := cache.NewRistrettoStore(0)
	if err != nil {
		t.Fatal(err)
	}
	s := &slowStore{Store: real, entered: make(chan struct{}, 1)}
	d, err := cache.NewWithStore(cache.Config{}, s)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	s.hold.Lock()
	const n = 100
	apply := func(sequence uint64) {
		for i := range n {
			st := cache.Statement{Scope: cache.Session, Issuer: "i", Key: fmt.Sprint(i), Until: later(), Sequence: sequence}
			if err := d.Apply([]cache.Statement{st}); err != nil {
				t.Fatal(err)
			}
		}
	}
	named := func(sequence uint64) {
		t.Helper()
		for i := range n {
			r := d.Ref(cache.Claims{Issuer: "i", Session: fmt.Sprint(i)})
			if v := d.Check(&r); !v.Revoked || v.Sequence != sequence {
				t.Fatalf("session %d: %+v, want sequence %d", i, v, sequence)
			}
		}
	}
	apply(1)
	named(1)
	<-s.entered // the writer is stuck with the first ones
	apply(2)
	named(2)
	if s.sets.Load() != 0 {
		t.Fatal("ristretto was not held up: the test proves nothing")
	}
	s.hold.Unlock()
	d.Settle()
	named(2)
	if w := d.Waiting(); w != 0 {
		t.Errorf("%d details are still held beside ristretto", w)
	}
	if st := d.Stats(); st.RecordMissing.Lost != 0 || st.Overflow != 0 {
		t.Errorf("%+v", st)
	}
}

// TestDetailsReachRistrettoByThemselves: nobody has to ask for it.
func TestDetailsReachRistrettoByThemselves(t *testing.T) {
	d := newDenylist(t, cache.Config{})
	if err := d.Apply([]cache.Statement{{Scope: cache.Token, Issuer: "i", Key: "k", Until: later(), Sequence: 7}}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); d.Waiting() > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("a detail still waits after %v", patience)
		}
		<-time.After(time.Millisecond)
	}
	r := d.Ref(cache.Claims{Issuer: "i", ID: "k"})
	if v := d.Check(&r); v.Sequence != 7 {
		t.Errorf("got %+v, want sequence 7", v)
	}
}
