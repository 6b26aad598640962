package cache_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/golang-jwt/jwt/v5"

	"github.com/quash-auth/quash/cache"
)

const million = 1_000_000

// statements returns n of them: 50 % sessions, 47 % tokens, 3 % subjects (every other one
// with a generation) and a few clients, keys and issuers.
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
		case k%30 == 9:
			s.Scope, s.Before, s.Gen = cache.Subject, 1_000, uint64(k/30%2)
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

// fill applies n statements in chunks, so that they need not all exist at once, and waits until ristretto has them.
func fill(tb testing.TB, d *cache.Denylist, n int, until int64) {
	tb.Helper()
	const chunk = 10_000
	for from := 0; from < n; from += chunk {
		if err := d.Apply(statements(from, min(chunk, n-from), until)); err != nil {
			tb.Fatal(err)
		}
	}
	d.Settle()
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
