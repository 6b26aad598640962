package cache_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/quash-auth/quash/cache"
)

// BenchmarkMemoHit is a token seen before, memo and denylist together, against
// golang-jwt's parse and verify of the same token (ES256).
func BenchmarkMemoHit(b *testing.B) {
	type verified struct {
		claims cache.Claims
		ref    cache.Ref
	}
	d := newDenylist(b, cache.Config{})
	fill(b, d, 100_000, later())
	raw, verify := es256(b)
	m := newMemo[*verified](b, cache.MemoConfig{})
	const tokens = 4096
	raws := make([]string, tokens)
	for i := range raws {
		raws[i] = fmt.Sprintf("%s%04x", raw[:len(raw)-4], i)
		v := &verified{claims: benchClaims(i)}
		v.ref = d.Ref(v.claims)
		for _, ok := m.Get(raws[i]); !ok; _, ok = m.Get(raws[i]) {
			m.Put(raws[i], v, 600)
			runtime.Gosched()
		}
	}
	hit := func(check bool) func(int) func(int) {
		return func(worker int) func(int) {
			return func(n int) {
				for i := range n {
					v, ok := m.Get(raws[(i*7+worker*tokens/2)%tokens])
					if !ok || check && d.Check(&v.ref).Revoked {
						panic("forgotten or revoked")
					}
				}
			}
		}
	}
	full := func(int) func(int) {
		return func(n int) {
			for range n {
				verify()
			}
		}
	}
	one, two := probe{1, 4096, hit(false), nil}, probe{2, 4096, hit(false), nil}
	checked, es := probe{1, 4096, hit(true), nil}, probe{1, 16, full, nil}
	race(51, &one, &two, &checked, &es)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.Get(raws[i%tokens])
	}
	b.ReportMetric(one.median(), "ns/hit")
	b.ReportMetric(two.median(), "ns/hit-2g")
	b.ReportMetric(checked.median(), "ns/hit+check")
	b.ReportMetric(es.median(), "ns/ES256")
	b.ReportMetric(es.median()/checked.median(), "x-ES256")
}
