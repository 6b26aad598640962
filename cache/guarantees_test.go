package cache_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/quash-auth/quash/cache"
)

// TestG1_AcknowledgedIsEnforced: readers, writers, extension, expiry and growth at once.
func TestG1_AcknowledgedIsEnforced(t *testing.T) {
	clock := newFakeClock()
	d := newDenylist(t, checkerConfig(clock))
	c := newChecker(d, clock, 20_000, d.Ref)
	c.run(t, checks, false)
	c.report(t)
	st := d.Stats()
	if st.RecordMissing.Lost != 0 {
		t.Errorf("%d details lost, want 0", st.RecordMissing.Lost)
	}
	if st.Expired == 0 || st.Merged == 0 {
		t.Errorf("nothing expired (%d) or nothing merged (%d): the check proves too little", st.Expired, st.Merged)
	}
}

// TestG2_WhateverRistrettoDoes: the same with stores that lose nearly everything.
func TestG2_WhateverRistrettoDoes(t *testing.T) {
	for name, s := range map[string]cache.Store{
		"evicts":       newTinyStore(t),
		"forgets":      forgetting{},
		"refuses":      refusing{},
		"someone else": impostor{},
	} {
		t.Run(name, func(t *testing.T) {
			clock := newFakeClock()
			d, err := cache.NewWithStore(checkerConfig(clock), s)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			c := newChecker(d, clock, 3_000, d.Ref)
			c.run(t, checks/20, false)
			c.report(t)
			if name != "evicts" && d.Stats().RecordMissing.Lost != 0 {
				t.Errorf("%d details lost although the overflow has them", d.Stats().RecordMissing.Lost)
			}
		})
	}
}

// tinyStore is ristretto with room for 100 details.
type tinyStore struct {
	c *ristretto.Cache[uint64, uint64]
}

func newTinyStore(t *testing.T) cache.Store {
	c, err := ristretto.NewCache(&ristretto.Config[uint64, uint64]{
		NumCounters: 1 << 10, MaxCost: 100, IgnoreInternalCost: true, BufferItems: 64,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return tinyStore{c}
}

func (s tinyStore) Set(k, d uint64, ttl time.Duration) bool { return s.c.SetWithTTL(k, d, 1, ttl) }
func (s tinyStore) Get(k uint64) (uint64, bool)             { return s.c.Get(k) }
func (s tinyStore) Wait()                                   { s.c.Wait() }
func (s tinyStore) Close()                                  { s.c.Close() }

type nothing struct{}

func (nothing) Get(uint64) (uint64, bool) { return 0, false }
func (nothing) Wait()                     {}
func (nothing) Close()                    {}

type forgetting struct{ nothing }

func (forgetting) Set(uint64, uint64, time.Duration) bool { return true }

type refusing struct{ nothing }

func (refusing) Set(uint64, uint64, time.Duration) bool { return false }

// impostor always answers with somebody else's detail.
type impostor struct{ forgetting }

func (impostor) Get(k uint64) (uint64, bool) { return k<<48 | 7, true }

// TestG7_ClosedOrNilDenies: Check, Apply, Sweep, Lookup and Close beside each other.
func TestG7_ClosedOrNilDenies(t *testing.T) {
	var none *cache.Denylist
	r := none.Ref(cache.Claims{Issuer: "i", ID: "x"})
	if !none.Check(&r).Revoked {
		t.Error("a nil denylist let a token in")
	}
	if err := none.Apply(nil); !errors.Is(err, cache.ErrClosed) {
		t.Errorf("Apply on nil: %v, want ErrClosed", err)
	}
	if _, ok := none.Lookup(cache.Token, "i", "x"); ok || none.Stats().Entries != 0 || none.Sweep() != 0 || none.Close() != nil {
		t.Error("a nil denylist is not empty")
	}
	if err := none.Run(t.Context()); !errors.Is(err, cache.ErrClosed) {
		t.Errorf("Run on nil: %v, want ErrClosed", err)
	}
	for trial := range 300 {
		d, err := cache.New(cache.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Apply([]cache.Statement{{Scope: cache.Token, Issuer: "i", Key: "x", Until: later()}}); err != nil {
			t.Fatal(err)
		}
		revoked := d.Ref(cache.Claims{Issuer: "i", ID: "x"})
		clean := d.Ref(cache.Claims{Issuer: "i", ID: "y"})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for range 200 {
					if !d.Check(&revoked).Revoked {
						t.Error("a revoked token was let in")
					}
				}
			})
		}
		wg.Go(func() {
			for i := range 20 {
				err := d.Apply([]cache.Statement{{Scope: cache.Session, Issuer: "i", Key: fmt.Sprint(i), Until: later()}})
				if err != nil && !errors.Is(err, cache.ErrClosed) {
					t.Errorf("apply: %v", err)
				}
			}
		})
		wg.Go(func() { d.Sweep(); d.Lookup(cache.Token, "i", "x"); d.Stats() })
		for range 1 + trial%2 {
			wg.Go(func() { d.Close() })
		}
		wg.Wait()
		if !d.Check(&clean).Revoked {
			t.Fatal("a closed denylist let a token in")
		}
		if err := d.Apply(nil); !errors.Is(err, cache.ErrClosed) {
			t.Fatalf("Apply after Close: %v, want ErrClosed", err)
		}
	}
}

// TestG7_ForeignRefDenies: hashes of another denylist mean nothing here.
func TestG7_ForeignRefDenies(t *testing.T) {
	a, b := newDenylist(t, cache.Config{}), newDenylist(t, cache.Config{})
	r := a.Ref(cache.Claims{Issuer: "i", ID: "x"})
	if a.Check(&r).Revoked {
		t.Error("denied by its own denylist")
	}
	if !b.Check(&r).Revoked || !b.Check(nil).Revoked || !b.Check(&cache.Ref{}).Revoked {
		t.Error("a Ref that is not the denylist's own was let in")
	}
}

// TestG8_FullIsLoud: no room, no loss.
func TestG8_FullIsLoud(t *testing.T) {
	clock := newFakeClock()
	d := newDenylist(t, cache.Config{MaxEntries: 1000, Now: clock.Now})
	until := clock.unix.Load() + 10
	var batch []cache.Statement
	for i := range 1500 {
		batch = append(batch, cache.Statement{Scope: cache.Session, Issuer: "i", Key: fmt.Sprint(i), Until: until, Sequence: uint64(i + 1)})
	}
	err := d.Apply(batch)
	if !errors.Is(err, cache.ErrFull) {
		t.Fatalf("Apply of 1500 with room for 1000: %v, want ErrFull", err)
	}
	for i := range 1500 {
		r := d.Ref(cache.Claims{Issuer: "i", Session: fmt.Sprint(i)})
		if v := d.Check(&r); v.Revoked != (i < 1000) {
			t.Fatalf("session %d: revoked %v", i, v.Revoked)
		}
	}
	if st := d.Stats(); st.Entries != 1000 || st.Full != 500 {
		t.Errorf("entries %d, refused %d, want 1000 and 500", st.Entries, st.Full)
	}
	// What is held can still be made to live longer, and to say so.
	batch[0].Until += 100
	if err := d.Apply(batch[:1]); err != nil {
		t.Errorf("merge while full: %v", err)
	}
	clock.unix.Store(until + 121)
	if n := d.Sweep(); n != 999 {
		t.Errorf("swept %d, want 999", n)
	}
	for i := range batch {
		batch[i].Until = until + 1000
	}
	if err := d.Apply(batch[1000:]); err != nil {
		t.Errorf("apply after expiry: %v", err)
	}
}

// TestG9_ReadsAllocateNothingAndTakeNoLock: Check answers while every lock is held.
func TestG9_ReadsAllocateNothingAndTakeNoLock(t *testing.T) {
	d := newDenylist(t, cache.Config{})
	fill(t, d, 20_000, later())
	clean := benchClaims(1)
	cases := map[string]cache.Claims{
		"not revoked":     clean,
		"session revoked": {Issuer: iss, Session: benchKey(0)},
		"subject revoked": {Issuer: iss, Subject: benchKey(9), IssuedAt: 1_000, HasIssuedAt: true},
		"newer login":     {Issuer: iss, Subject: benchKey(9), IssuedAt: 1_001, HasIssuedAt: true},
	}
	for name, c := range cases {
		want := name == "session revoked" || name == "subject revoked"
		r := d.Ref(c)
		if got := d.Check(&r).Revoked; got != want {
			t.Errorf("%s: revoked %v, want %v", name, got, want)
		}
		if n := testing.AllocsPerRun(1000, func() { d.Check(&r) }); n != 0 {
			t.Errorf("%s: Check allocates %v times", name, n)
		}
		if n := testing.AllocsPerRun(1000, func() { r = d.Ref(c) }); n != 0 {
			t.Errorf("%s: Ref allocates %v times", name, n)
		}
	}
	unlock := d.LockWriters()
	defer unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, c := range cases {
			r := d.Ref(c)
			d.Check(&r)
		}
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("Check waits for a lock")
	}
}
