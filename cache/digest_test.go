package cache_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/quash-auth/quash/cache"
)

// digestStatements have ends that lie minutes apart, several on the same key.
func digestStatements(r *rand.Rand, n int, start int64) model {
	var m model
	for i := range n {
		s := randomStatement(r, uint64(i+1))
		s.Until = start + 60*r.Int64N(6) + r.Int64N(60)
		m = append(m, s)
	}
	return m
}

// TestDigestIsOfTheLivingStatements: order, repetition, restarts and what a node has forgotten or never saw because it had
// ended do not change it.
func TestDigestIsOfTheLivingStatements(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 9))
		clock := newFakeClock()
		start := clock.unix.Load()
		m := digestStatements(r, 30, start)
		old := newDenylist(t, cache.Config{Now: clock.Now, Grace: time.Second})
		if err := old.Apply(m); err != nil {
			t.Fatal(err)
		}
		clock.unix.Add(r.Int64N(400))
		if r.IntN(2) == 0 {
			old.Sweep()
		}
		// A node that starts now reads what the stream still holds, in another order and some of it twice.
		var living model
		for _, s := range m {
			if s.Until >= clock.unix.Load() {
				living = append(living, s)
			}
		}
		fresh := newDenylist(t, cache.Config{Now: clock.Now, Grace: time.Second})
		again := slices.Concat(living, living)
		r.Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
		if err := fresh.Apply(again); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(clock.unix.Load(), 0)
		if a, b := old.Digest(at), fresh.Digest(at); a != b {
			t.Fatalf("seed %d: %+v and %+v\nof %#v", seed, a, b, living)
		}
	}
}

// TestDigestTellsALoss: each statement that decides something is missed.
func TestDigestTellsALoss(t *testing.T) {
	clock := newFakeClock()
	now := clock.unix.Load()
	var m model
	for i := range 50 {
		for scope := cache.Token; scope <= cache.Issuer; scope++ {
			s := cache.Statement{Scope: scope, Issuer: "i" + fmt.Sprint(i), Key: "k", Until: now + 3600, Sequence: uint64(i)}
			if scope == cache.Issuer {
				s.Key = ""
			}
			if scope > cache.Session {
				s.Before = now
			}
			m = append(m, s)
		}
	}
	// A later statement about a key that is there already.
	m = append(m, cache.Statement{Scope: cache.Subject, Issuer: "i1", Key: "k", Before: now + 1, Gen: 2, Until: now + 3700},
		cache.Statement{Scope: cache.Session, Issuer: "i1", Key: "k", Until: now + 3700})
	whole := newDenylist(t, cache.Config{Now: clock.Now})
	if err := whole.Apply(m); err != nil {
		t.Fatal(err)
	}
	want := whole.Digest(time.Unix(now, 0))
	if want.Sum == 0 || !want.From.After(time.Unix(now, 0)) || want.From.Second() != 0 {
		t.Errorf("got %+v", want)
	}
	// The subject's and the session's first statement are dominated: without them the state is the same.
	dominated := func(s cache.Statement) bool {
		return s.Issuer == "i1" && s.Until == now+3600 && (s.Scope == cache.Subject || s.Scope == cache.Session)
	}
	for n := range m {
		d := newDenylist(t, cache.Config{Now: clock.Now})
		if err := d.Apply(slices.Delete(slices.Clone(m), n, n+1)); err != nil {
			t.Fatal(err)
		}
		if got := d.Digest(time.Unix(now, 0)); (got == want) != dominated(m[n]) {
			t.Errorf("without %#v: got %+v, whole is %+v", m[n], got, want)
		}
		d.Close()
	}
	clock.unix.Add(7200)
	whole.Sweep()
	if got := whole.Digest(time.Unix(clock.unix.Load(), 0)); got.Sum != 0 {
		t.Errorf("after everything ended: %+v, want 0", got)
	}
}

// TestWhatIsNotHeldMakesTheDigest: a file that keeps only what was not held yet, as snapshots and ledgers do, gives the same digest.
func TestWhatIsNotHeldMakesTheDigest(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 10))
		clock := newFakeClock()
		start := clock.unix.Load()
		all := newDenylist(t, cache.Config{Now: clock.Now})
		var kept model
		for _, s := range digestStatements(r, 60, start+60) {
			s.Until -= s.Until % 20 // many end together
			if !all.Holds(s) {
				kept = append(kept, s)
			}
			if err := all.Apply(model{s}); err != nil {
				t.Fatal(err)
			}
			if !all.Holds(s) {
				t.Fatalf("seed %d: not held after it was applied: %+v", seed, s)
			}
		}
		restored := newDenylist(t, cache.Config{Now: clock.Now})
		if err := restored.Apply(kept); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(start, 0)
		if a, b := all.Digest(at), restored.Digest(at); a != b {
			t.Fatalf("seed %d: %+v, from %d kept statements %+v", seed, a, len(kept), b)
		}
	}
}

// TestDigestTellsALossAtOneEnd: of two statements that end together, each that admits a token by its absence is missed, and
// one that says what both do is as good as both.
func TestDigestTellsALossAtOneEnd(t *testing.T) {
	clock := newFakeClock()
	now := clock.unix.Load()
	of := func(batch ...cache.Statement) cache.Digest {
		d := newDenylist(t, cache.Config{Now: clock.Now})
		defer d.Close()
		mustApply(t, d, batch...)
		return d.Digest(time.Unix(now, 0))
	}
	for i := range int64(50) {
		a := cache.Statement{Scope: cache.Subject, Issuer: "i", Key: fmt.Sprint(i), Before: now - 100 - i, Until: now + 3600, Sequence: 1}
		b, gen := a, a
		b.Before, b.Sequence = now, 2
		gen.Gen, gen.Sequence = 7, 3
		both := of(a, b)
		if both == of(a) {
			t.Errorf("subject %d: the loss of the newer statement is not in the digest", i)
		}
		if both != of(b, a) || both != of(b) {
			t.Errorf("subject %d: the digest depends on the order, or on what is dominated", i)
		}
		if all := of(a, gen); all == of(a) || all == of(gen) || all != of(gen, a, gen) {
			t.Errorf("subject %d: a time and a generation: the loss of one is not in the digest, or the order is", i)
		}
	}
}
