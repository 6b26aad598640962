package cache_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/golang-jwt/jwt/v5"

	"github.com/quash-auth/quash/cache"
)

const million = 1_000_000

// statements returns n of them: 45 % sessions, 45 % tokens, 9.998 % subjects (every other
// one with a generation) and a few clients, keys and issuers.
func statements(from, n int, until int64) []cache.Statement {
	batch := make([]cache.Statement, n)
	for i := range batch {
		k := from + i
		s := cache.Statement{Issuer: iss, Key: benchKey(k), Until: until, Sequence: uint64(k + 1)}
		switch {
		case k%10_000 == 9_999:
			s.Scope, s.Before = cache.Client+cache.Scope(k/10_000%3), 1_000
			if s.Scope == cache.Issuer {
				s.Issuer, s.Key = benchKey(k), ""
			}
		case k%10 == 9:
			s.Scope, s.Before, s.Gen = cache.Subject, 1_000, uint64(k/10%2)
		case k%2 == 0:
			s.Scope = cache.Session
		default:
			s.Scope = cache.Token
		}
		batch[i] = s
	}
	return batch
}

const iss = "https://login.example.com/tenant-0001"

// benchKey looks like a UUID: 36 bytes.
func benchKey(k int) string {
	x := uint64(k)*0x9e3779b97f4a7c15 + 1
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", uint32(x), uint16(x>>32), uint16(x>>48), uint16(k), k)
}

func benchClaims(k int) cache.Claims {
	return cache.Claims{
		Issuer: iss, ID: benchKey(-k - 1), Session: benchKey(-k - 2), Subject: benchKey(-k - 3),
		Client: "web-frontend", KeyID: "2026-11-key-1", IssuedAt: 2_000, HasIssuedAt: true, Gen: 3, HasGen: true,
	}
}

func newDenylist(tb testing.TB, cfg cache.Config) *cache.Denylist {
	tb.Helper()
	d, err := cache.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { d.Close() })
	return d
}

// fill applies n statements in chunks, so that they need not all exist at once.
func fill(tb testing.TB, d *cache.Denylist, n int, until int64) {
	tb.Helper()
	const chunk = 10_000
	for from := 0; from < n; from += chunk {
		if err := d.Apply(statements(from, min(chunk, n-from), until)); err != nil {
			tb.Fatal(err)
		}
	}
}

func later() int64 { return time.Now().Add(time.Hour).Unix() }

// A probe is one thing to time: work(worker) returns a function that does it n times.
type probe struct {
	goroutines int
	calls      int
	work       func(worker int) func(n int)
	ns         []float64
}

// race times the probes in turn, many short rounds each, and leaves each with the median
// of ns per call of one goroutine. Rounds are shorter than a time slice, so that other
// processes on the machine spoil some of them and not all.
func race(rounds int, probes ...*probe) {
	for range rounds {
		for _, p := range probes {
			took := make([]time.Duration, p.goroutines)
			var wg sync.WaitGroup
			begin := make(chan struct{})
			for w := range p.goroutines {
				f := p.work(w)
				wg.Go(func() {
					<-begin
					f(p.calls / 8) // warm up
					start := time.Now()
					f(p.calls)
					took[w] = time.Since(start)
				})
			}
			close(begin)
			wg.Wait()
			for _, t := range took {
				p.ns = append(p.ns, float64(t.Nanoseconds())/float64(p.calls))
			}
		}
	}
}

func (p *probe) median() float64 {
	slices.Sort(p.ns)
	return p.ns[len(p.ns)/2]
}

// a walker makes claims nobody has seen, in place and for next to nothing, as if they had
// just been parsed: hot in the processor's cache, while their places in the index are not.
type walker struct {
	x     uint64
	texts [3][36]byte
}

func (w *walker) claims() cache.Claims {
	for i := range w.texts {
		w.x ^= w.x << 13
		w.x ^= w.x >> 7
		w.x ^= w.x << 17
		binary.LittleEndian.PutUint64(w.texts[i][:], w.x)
	}
	return cache.Claims{
		Issuer:  iss,
		ID:      unsafe.String(&w.texts[0][0], 36),
		Session: unsafe.String(&w.texts[1][0], 36),
		Subject: unsafe.String(&w.texts[2][0], 36),
		Client:  "web-frontend", KeyID: "2026-11-key-1", IssuedAt: 2_000, HasIssuedAt: true, Gen: 3, HasGen: true,
	}
}

func newWalker(worker int) *walker {
	return &walker{x: uint64(worker+1)*0x9e3779b97f4a7c15 ^ uint64(time.Now().UnixNano())}
}

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
	plain, err := ristretto.NewCache(&ristretto.Config[string, uint64]{
		NumCounters: 1 << 10, MaxCost: math.MaxInt64, IgnoreInternalCost: true, BufferItems: 64,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(plain.Close)
	for i := range million {
		for !plain.SetWithTTL(benchKey(i), uint64(i), 0, time.Hour) {
			runtime.Gosched()
		}
	}
	plain.Wait()
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
	p := struct{ check1, check2, memo1, memo2, hash1, alone1, alone2, es probe }{
		probe{1, 4096, check, nil}, probe{2, 4096, check, nil},
		probe{1, 4096, memoised, nil}, probe{2, 4096, memoised, nil},
		probe{1, 4096, hash, nil},
		probe{1, 1024, alone, nil}, probe{2, 1024, alone, nil},
		probe{1, 16, verified, nil},
	}
	race(101, &p.check1, &p.check2, &p.memo1, &p.memo2, &p.hash1, &p.alone1, &p.alone2, &p.es)
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
	b.ReportMetric(alone1, "ns/ristretto")
	b.ReportMetric(alone2, "ns/ristretto-2g")
	b.ReportMetric(alone1/check1, "x-ristretto")
	b.ReportMetric(alone2/check2, "x-ristretto-2g")
	b.ReportMetric(100*check1/es, "%-of-ES256")
	b.ReportMetric(0, "ns/op")
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

// es256 returns a signed token of 600 bytes or so and its verification by golang-jwt.
func es256(tb testing.TB) (string, func()) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	now := time.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": iss, "sub": benchKey(1), "aud": "https://api.example.com", "sid": benchKey(2), "jti": benchKey(3),
		"client_id": "web-frontend", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "gen": 3,
		"scope": "orders:read orders:write profile email", "name": "A User With A Name",
	})
	token.Header["kid"] = "2026-11-key-1"
	raw, err := token.SignedString(key)
	if err != nil {
		tb.Fatal(err)
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(iss), jwt.WithAudience("https://api.example.com"))
	return raw, func() {
		if _, err := parser.Parse(raw, func(*jwt.Token) (any, error) { return &key.PublicKey, nil }); err != nil {
			panic(err)
		}
	}
}

func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkMemory1M: bytes per living statement, every detail kept. Baseline: ristretto
// alone with the same keys and a TTL, and a map of strings.
func BenchmarkMemory1M(b *testing.B) {
	for b.Loop() {
		before := heap()
		d := newDenylist(b, cache.Config{})
		fill(b, d, million, later())
		all := (heap() - before) / million
		st := d.Stats()
		d.Close()
		runtime.KeepAlive(d)
		b.ReportMetric(all, "B/statement")
		b.ReportMetric(float64(st.IndexBytes)/million, "B/statement-index")
		b.ReportMetric(float64(st.RecordMissing.Lost), "lost")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkMemory10M: bytes per living statement at ten million with a budget for
// details. It takes a minute and a gigabyte: set QUASH_BENCH_LARGE=1 for the whole size,
// otherwise it runs with 100,000.
func BenchmarkMemory10M(b *testing.B) {
	n := 100_000
	if os.Getenv("QUASH_BENCH_LARGE") == "1" {
		n = 10 * million
	}
	for b.Loop() {
		before := heap()
		d := newDenylist(b, cache.Config{DetailBytes: int64(n) * 24})
		fill(b, d, n, later())
		all := (heap() - before) / float64(n)
		st := d.Stats()
		d.Close()
		runtime.KeepAlive(d)
		b.ReportMetric(float64(n), "statements")
		b.ReportMetric(all, "B/statement")
		b.ReportMetric(float64(st.IndexBytes)/float64(n), "B/statement-index")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkApply is the replay of one million statements, every detail read back,
// against ristretto's own Set in a loop that retries.
func BenchmarkApply(b *testing.B) {
	const n = million
	batch := statements(0, n, later())
	for b.Loop() {
		d := newDenylist(b, cache.Config{})
		start := time.Now()
		for from := 0; from < n; from += 1000 {
			if err := d.Apply(batch[from : from+1000]); err != nil {
				b.Fatal(err)
			}
		}
		ours := time.Since(start)
		d.Close()
		plain, err := ristretto.NewCache(&ristretto.Config[string, uint64]{
			NumCounters: 1 << 10, MaxCost: math.MaxInt64, IgnoreInternalCost: true, BufferItems: 64,
		})
		if err != nil {
			b.Fatal(err)
		}
		start = time.Now()
		for i := range batch {
			for !plain.SetWithTTL(batch[i].Key, batch[i].Sequence, 0, time.Hour) {
				runtime.Gosched()
			}
		}
		plain.Wait()
		theirs := time.Since(start)
		plain.Close()
		b.ReportMetric(n/ours.Seconds(), "statements/s")
		b.ReportMetric(n/theirs.Seconds(), "ristretto-sets/s")
		b.ReportMetric(theirs.Seconds()/ours.Seconds(), "x-ristretto")
	}
	b.ReportMetric(0, "ns/op")
}
