package cache_test

import (
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/quash-auth/quash/cache"
)

// BenchmarkCheck1M is the question asked for every request, at one million living
// statements in all six scopes, about tokens that are not revoked: with the hashing (a
// new token) and without (a token in the memo). Baselines: the same keys asked of a
// ristretto that holds the same million, and golang-jwt's ES256 verification.
func BenchmarkCheck1M(b *testing.B) {
	d := newDenylist(b, cache.Config{})
	fill(b, d, million, later())
	check := func(worker int) func(int) {
		w := newWalker(worker)
		return func(n int) {
			for range n {
				r := d.Ref(w.claims())
				if d.Check(&r).Revoked {
					panic("revoked")
				}
			}
		}
	}
	hash := func(worker int) func(int) {
		w := newWalker(worker)
		return func(n int) {
			for range n {
				r := d.Ref(w.claims())
				runtime.KeepAlive(&r)
			}
		}
	}
	const known = 4096
	refs := make([]cache.Ref, known)
	for i := range refs {
		refs[i] = d.Ref(benchClaims(i))
	}
	memoised := func(worker int) func(int) {
		return func(n int) {
			for i := range n {
				if d.Check(&refs[(i+worker*known/2)%known]).Revoked {
					panic("revoked")
				}
			}
		}
	}
	plain := plainMillion(b)
	defer plain.Close()
	alone := func(worker int) func(int) {
		w := newWalker(worker)
		return func(n int) {
			for range n {
				c := w.claims()
				for _, k := range [...]string{c.ID, c.Session, c.Subject, c.Client, c.KeyID, c.Issuer} {
					if _, ok := plain.Get(k); ok {
						panic("revoked")
					}
				}
			}
		}
	}
	_, verify := es256(b)
	verified := func(int) func(int) {
		return func(n int) {
			for range n {
				verify()
			}
		}
	}
	// The three questions of a token by itself: jti, sid, sub (and, for us, the issuer).
	three := func(worker int) func(int) {
		w := newWalker(worker)
		return func(n int) {
			for range n {
				c := w.claims()
				c.Client, c.KeyID = "", ""
				r := d.Ref(c)
				if d.Check(&r).Revoked {
					panic("revoked")
				}
			}
		}
	}
	threeAlone := func(worker int) func(int) {
		w := newWalker(worker)
		return func(n int) {
			for range n {
				c := w.claims()
				for _, k := range [...]string{c.ID, c.Session, c.Subject} {
					if _, ok := plain.Get(k); ok {
						panic("revoked")
					}
				}
			}
		}
	}
	q, qa := probe{1, 4096, three, nil}, probe{1, 1024, threeAlone, nil}
	p := struct{ check1, check2, memo1, memo2, hash1, alone1, alone2, es probe }{
		probe{1, 4096, check, nil}, probe{2, 4096, check, nil},
		probe{1, 4096, memoised, nil}, probe{2, 4096, memoised, nil},
		probe{1, 4096, hash, nil},
		probe{1, 1024, alone, nil}, probe{2, 1024, alone, nil},
		probe{1, 16, verified, nil},
	}
	race(101, &p.check1, &p.check2, &p.memo1, &p.memo2, &p.hash1, &p.alone1, &p.alone2, &p.es, &q, &qa)
	check1, check2, memo1, memo2 := p.check1.median(), p.check2.median(), p.memo1.median(), p.memo2.median()
	hash1, alone1, alone2, es := p.hash1.median(), p.alone1.median(), p.alone2.median(), p.es.median()
	b.ReportAllocs()
	claims := benchClaims(0)
	for b.Loop() {
		r := d.Ref(claims)
		d.Check(&r)
	}
	b.ReportMetric(check1, "ns/check")
	b.ReportMetric(check2, "ns/check-2g")
	b.ReportMetric(check2/check1, "2g/1g")
	b.ReportMetric(memo1, "ns/check-hashed")
	b.ReportMetric(memo2, "ns/check-hashed-2g")
	b.ReportMetric(hash1, "ns/ref")
	b.ReportMetric(q.median(), "ns/check-3")
	b.ReportMetric(qa.median()/q.median(), "x-ristretto-3")
	b.ReportMetric(alone1, "ns/ristretto")
	b.ReportMetric(alone2, "ns/ristretto-2g")
	b.ReportMetric(alone1/check1, "x-ristretto")
	b.ReportMetric(alone2/check2, "x-ristretto-2g")
	b.ReportMetric(100*check1/es, "%-of-ES256")
	b.ReportMetric(0, "ns/op")
}

// plainMillion is a ristretto alone with a million keys, the baseline.
func plainMillion(b *testing.B) *ristretto.Cache[string, uint64] {
	b.Helper()
	c, err := ristretto.NewCache(&ristretto.Config[string, uint64]{
		NumCounters: 1 << 10, MaxCost: math.MaxInt64, IgnoreInternalCost: true, BufferItems: 64,
	})
	if err != nil {
		b.Fatal(err)
	}
	for i := range million {
		for !c.SetWithTTL(benchKey(i), uint64(i), 0, time.Hour) {
			runtime.Gosched()
		}
	}
	c.Wait()
	return c
}

// BenchmarkCheckRevoked is the answer "revoked", ristretto's detail included.
func BenchmarkCheckRevoked(b *testing.B) {
	d := newDenylist(b, cache.Config{})
	fill(b, d, million, later())
	refs := make([]cache.Ref, 1<<16)
	for i := range refs {
		refs[i] = d.Ref(cache.Claims{Issuer: iss, Session: benchKey(10 * i)})
	}
	hit := func(worker int) func(int) {
		return func(n int) {
			for i := range n {
				if v := d.Check(&refs[(i*7919+worker)%len(refs)]); v.Sequence == 0 {
					panic("not revoked, or by nothing")
				}
			}
		}
	}
	one, two := probe{1, 4096, hit, nil}, probe{2, 4096, hit, nil}
	race(51, &one, &two)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d.Check(&refs[i%len(refs)])
	}
	b.ReportMetric(one.median(), "ns/hit")
	b.ReportMetric(two.median(), "ns/hit-2g")
}
