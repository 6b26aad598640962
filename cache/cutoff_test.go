package cache_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/quash-auth/quash/cache"
)

// TestCutoffsOfEverySizeAreExact: what fits into a word and what does not, alone and joined, raised in any order, and
// carried over by growth and by sweeps.
func TestCutoffsOfEverySizeAreExact(t *testing.T) {
	befores := []int64{1, 1000, math.MaxUint32, math.MaxUint32 + 1, 1<<62 - 2, 1<<62 - 1, 1 << 62, cache.Always - 1, cache.Always}
	gens := []uint64{0, 0, 1, 1<<30 - 1, 1 << 30, math.MaxUint64}
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 11))
		clock := newFakeClock()
		d := newDenylist(t, cache.Config{Now: clock.Now, Grace: 1e9})
		now := clock.unix.Load()
		var m model
		for i := range 600 {
			s := cache.Statement{Scope: cache.Subject, Issuer: "i", Key: fmt.Sprint(r.IntN(150)), Until: now + 100 + r.Int64N(2), Sequence: uint64(i + 1),
				Before: befores[r.IntN(len(befores))], Gen: gens[r.IntN(len(gens))]}
			if r.IntN(5) == 0 { // leaves
				s.Key, s.Until = fmt.Sprint("short-", i), now+1
			}
			m = append(m, s)
		}
		for from := 0; from < len(m); from += 50 {
			if err := d.Apply(m[from : from+50]); err != nil {
				t.Fatal(err)
			}
			if from == 300 {
				clock.unix.Add(10)
				if d.Sweep() == 0 {
					t.Fatal("nothing left")
				}
			}
		}
		for key := range 150 {
			name := fmt.Sprint(key)
			want, wantOK := m.entry(cache.Subject, "i", name)
			got, ok := d.Lookup(cache.Subject, "i", name)
			got.Sequence = 0
			if ok != wantOK || got != want {
				t.Fatalf("seed %d, subject %s: got %+v %v, want %+v %v", seed, name, got, ok, want, wantOK)
			}
			for _, b := range befores {
				for _, iat := range []int64{b, min(b, cache.Always-1) + 1} {
					for _, gen := range gens {
						c := cache.Claims{Issuer: "i", Subject: name, IssuedAt: iat, HasIssuedAt: true, Gen: gen, HasGen: gen != 0}
						ref := d.Ref(c)
						scope, _ := m.covering(c)
						if v := d.Check(&ref); v.Revoked != (scope != 0) {
							t.Fatalf("seed %d: %+v: got %+v, want revoked %v; entry %+v", seed, c, v, scope != 0, want)
						}
					}
				}
			}
		}
	}
}
