package cache_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/quash-auth/quash/cache"
)

// TestG6_ExactUnderCollisions: keys whose 64-bit hashes are all the same number stay
// apart; keys nobody revoked stay clean.
func TestG6_ExactUnderCollisions(t *testing.T) {
	for _, h := range []uint64{0, 1, 0xdead_beef_0123_4567, 1<<64 - 1} {
		d, err := cache.New(cache.Config{})
		if err != nil {
			t.Fatal(err)
		}
		d.Forge(func(_ cache.Scope, issuer, key string) (uint64, uint64, bool) {
			var n uint64
			if _, err := fmt.Sscanf(key, "same-%d", &n); err != nil {
				return 0, 0, false
			}
			return h, n, true
		})
		const n = 40
		var batch []cache.Statement
		for i := range n {
			s := cache.Statement{Issuer: "i", Key: fmt.Sprintf("same-%d", i), Until: later(), Sequence: uint64(100 + i)}
			switch i % 4 {
			case 0:
				s.Scope = cache.Session
			case 1:
				s.Scope, s.Before = cache.Subject, int64(1000+i)
			case 2:
				s.Scope, s.Before, s.Gen = cache.Subject, int64(1000+i), uint64(1000+i)
			default:
				continue // not revoked
			}
			batch = append(batch, s)
		}
		if err := d.Apply(batch); err != nil {
			t.Fatal(err)
		}
		d.Settle()
		for i := range n {
			key := fmt.Sprintf("same-%d", i)
			session := d.Ref(cache.Claims{Issuer: "i", Session: key})
			if v := d.Check(&session); v.Revoked != (i%4 == 0) || v.Revoked && v.Sequence != uint64(100+i) {
				t.Errorf("hash %x: session %s: %+v", h, key, v)
			}
			at := func(iat int64) cache.Verdict {
				r := d.Ref(cache.Claims{Issuer: "i", Subject: key, IssuedAt: iat, HasIssuedAt: true})
				return d.Check(&r)
			}
			cut := int64(1000 + i)
			if v := at(cut); v.Revoked != (i%4 == 1 || i%4 == 2) || v.Revoked && v.Sequence != uint64(100+i) {
				t.Errorf("hash %x: subject %s at its cutoff: %+v", h, key, v)
			}
			if v := at(cut + 1); v.Revoked {
				t.Errorf("hash %x: subject %s after its cutoff: %+v", h, key, v)
			}
		}
		if st := d.Stats(); st.RecordMissing.Lost != 0 || st.Overflow == 0 {
			t.Errorf("hash %x: %d lost, %d in the overflow, want 0 and some", h, st.RecordMissing.Lost, st.Overflow)
		}
		d.Close()
	}
}

// TestHashesDependOnEveryPart: issuer, scope and key, and where one ends.
func TestHashesDependOnEveryPart(t *testing.T) {
	a, b := newDenylist(t, cache.Config{}), newDenylist(t, cache.Config{})
	seen := map[uint64]string{}
	for _, d := range []*cache.Denylist{a, b} {
		for s := cache.Token; s <= cache.Issuer; s++ {
			for _, p := range [][2]string{{"a", "bc"}, {"ab", "c"}, {"abc", ""}, {"", "abc"}, {"bc", "a"}, {"c", "c"}, {"", ""}} {
				h, name := d.Hash(s, p[0], p[1]), fmt.Sprintf("%p %s %q", d, s, p)
				if other, ok := seen[h]; ok {
					t.Errorf("%s and %s have one hash", name, other)
				}
				seen[h] = name
			}
		}
	}
}

// TestBudgetForgetsDetailsOnly: with a byte budget the verdicts stay, and so do cutoffs and generations.
func TestBudgetForgetsDetailsOnly(t *testing.T) {
	clock := newFakeClock()
	d := newDenylist(t, cache.Config{DetailBytes: 500 * cache.RecordBytes, Now: clock.Now})
	const n = 20_000
	fill(t, d, n, clock.unix.Load()+3600)
	named := 0
	for i := range n {
		var c cache.Claims
		whole := i%2 == 0
		if c.Issuer = iss; whole {
			c.Session = benchKey(i)
		} else if i%30 == 9 && i%10_000 != 9_999 {
			c.Subject = benchKey(i)
			newer := c
			newer.IssuedAt, newer.HasIssuedAt, newer.Gen, newer.HasGen = 1_001, true, 1, true
			if r := d.Ref(newer); d.Check(&r).Revoked {
				t.Fatalf("statement %d covers a newer login", i)
			}
		} else {
			continue
		}
		r := d.Ref(c)
		v := d.Check(&r)
		if !v.Revoked {
			t.Fatalf("statement %d is gone", i)
		}
		switch {
		case v.Sequence == uint64(i+1):
			named++
		case v.Sequence != 0 && v.Sequence != uint64(i+1):
			t.Fatalf("statement %d is taken for %d", i, v.Sequence)
		}
	}
	st := d.Stats()
	if named == 0 || named > 500 || st.RecordMissing.Forgotten == 0 || st.RecordMissing.Lost != 0 {
		t.Errorf("%d of %d named; %+v", named, n/2, st.RecordMissing)
	}
}

// TestRefOutlivesEmptiness: a Ref made while a scope was empty sees what comes later.
func TestRefOutlivesEmptiness(t *testing.T) {
	for s := cache.Token; s <= cache.Issuer; s++ {
		d := newDenylist(t, cache.Config{})
		r := d.Ref(cache.Claims{Issuer: "i", ID: "k", Session: "k", Subject: "k", Client: "k", KeyID: "k", IssuedAt: 1, HasIssuedAt: true})
		if d.Check(&r).Revoked {
			t.Fatalf("%s: an empty denylist denies", s)
		}
		st := cache.Statement{Scope: s, Issuer: "i", Key: "k", Until: later(), Sequence: 7}
		if s > cache.Session {
			st.Before = time.Now().Unix()
		}
		if s == cache.Issuer {
			st.Key = ""
		}
		if err := d.Apply([]cache.Statement{st}); err != nil {
			t.Fatal(err)
		}
		if v := d.Check(&r); v != (cache.Verdict{Revoked: true, Scope: s, Sequence: 7}) {
			t.Errorf("%s: %+v", s, v)
		}
	}
}
