package cache_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quash-auth/quash/cache"
)

// list is what the checker checks: the denylist, or something that must fail the check.
type list interface {
	Apply([]cache.Statement) error
	Check(*cache.Ref) cache.Verdict
	Sweep() int
}

// fakeClock is a clock in whole seconds that tests move.
type fakeClock struct{ unix atomic.Int64 }

func newFakeClock() *fakeClock {
	c := &fakeClock{}
	c.unix.Store(1_700_000_000)
	return c
}

func (c *fakeClock) Now() time.Time { return time.Unix(c.unix.Load(), 0) }

const checkerGrace = 2 // seconds

// A checker asks a list, from several goroutines, about statements that were
// acknowledged, while others are applied, extended, expire and are revoked again.
type checker struct {
	list  list
	clock *fakeClock
	keys  int
	refs  []cache.Ref // of a token that key k's statements cover, issued at second 500
	fresh []cache.Ref // of a token of the same subject issued later; nil if key k is no subject
	clean []cache.Ref // of keys nobody revokes

	acked   []atomic.Int64 // until of a statement about key k that was acknowledged
	checked atomic.Int64
	misses  atomic.Int64 // covered, acknowledged, alive, and let in
	wrong   atomic.Int64 // denied without a reason
	recent  atomic.Int64 // a key acknowledged just now
	tick    chan struct{}
}

func scopeOf(k int) cache.Scope {
	return []cache.Scope{cache.Token, cache.Session, cache.Subject}[k%3]
}

func claimsOf(k int) cache.Claims {
	c := cache.Claims{Issuer: "i", IssuedAt: 500, HasIssuedAt: true}
	name := fmt.Sprintf("key-%d", k)
	switch scopeOf(k) {
	case cache.Token:
		c.ID = name
	case cache.Session:
		c.Session = name
	default:
		c.Subject = name
	}
	return c
}

func newChecker(l list, clock *fakeClock, keys int, ref func(cache.Claims) cache.Ref) *checker {
	c := &checker{list: l, clock: clock, keys: keys, acked: make([]atomic.Int64, keys), tick: make(chan struct{}, 1)}
	for k := range keys {
		claims := claimsOf(k)
		c.refs = append(c.refs, ref(claims))
		claims.IssuedAt = 5_000
		if scopeOf(k) != cache.Subject {
			claims.ID, claims.Session = claims.ID+"-other", ""
		}
		c.fresh = append(c.fresh, ref(claims))
		c.clean = append(c.clean, ref(claimsOf(keys+k)))
	}
	return c
}

// ask is one lookup of key k with its oracle. Acknowledged before and alive after it,
// the statement must be seen.
func (c *checker) ask(k int) {
	until := c.acked[k].Load()
	v := c.list.Check(&c.refs[k])
	if until != 0 && until+checkerGrace >= c.clock.unix.Load() && !v.Revoked {
		c.misses.Add(1)
	}
	if c.checked.Add(1)%20_000 == 0 {
		select {
		case c.tick <- struct{}{}:
		default:
		}
	}
}

func (c *checker) read(r *rand.Rand, done func() bool) {
	for !done() {
		for range 64 {
			c.ask(r.IntN(c.keys))
		}
		c.ask(int(c.recent.Load()))
		k := r.IntN(c.keys)
		if c.list.Check(&c.fresh[k]).Revoked || c.list.Check(&c.clean[k]).Revoked {
			c.wrong.Add(1)
		}
	}
}

// write applies batches of random size about random keys that live for 1 to 4 seconds.
func (c *checker) write(r *rand.Rand, done func() bool) error {
	for !done() {
		ks := make([]int, 1+r.IntN(400))
		batch := make([]cache.Statement, len(ks))
		for i := range batch {
			k := r.IntN(c.keys)
			claims := claimsOf(k)
			s := cache.Statement{
				Scope: scopeOf(k), Issuer: "i", Key: claims.ID + claims.Session + claims.Subject,
				Until: c.clock.unix.Load() + 1 + r.Int64N(4), Sequence: uint64(1 + r.IntN(1_000_000)),
			}
			if s.Scope == cache.Subject {
				s.Before = 500 + r.Int64N(4_000)
				s.Gen = uint64(r.IntN(2))
			}
			ks[i], batch[i] = k, s
		}
		if err := c.list.Apply(batch); err != nil {
			return err
		}
		for i, k := range ks {
			c.acked[k].Store(batch[i].Until)
			c.recent.Store(int64(k))
		}
		c.ask(ks[len(ks)-1])
	}
	return nil
}

// run asks n questions, or stops at the first miss if a miss is what is wanted.
func (c *checker) run(t *testing.T, n int64, wantMiss bool) {
	t.Helper()
	stop := time.Now().Add(5 * time.Minute) // only a machine that stands still gets there
	done := func() bool {
		return c.checked.Load() >= n || wantMiss && c.misses.Load() > 0 || time.Now().After(stop)
	}
	var asking, passing sync.WaitGroup
	for w := range 2 {
		asking.Go(func() { c.read(rand.New(rand.NewPCG(1, uint64(w))), done) })
		asking.Go(func() {
			if err := c.write(rand.New(rand.NewPCG(2, uint64(w))), done); err != nil {
				t.Errorf("apply: %v", err)
			}
		})
	}
	over := make(chan struct{})
	passing.Go(func() { // a second every 20,000 checks
		for {
			select {
			case <-c.tick:
				c.clock.unix.Add(1)
				c.list.Sweep()
			case <-over:
				return
			}
		}
	})
	asking.Wait()
	close(over)
	passing.Wait()
	if !wantMiss && c.checked.Load() < n {
		t.Errorf("made %d checks in five minutes, want %d", c.checked.Load(), n)
	}
}

func (c *checker) report(t *testing.T) {
	t.Helper()
	t.Logf("%d checks, %d misses, %d wrong denials", c.checked.Load(), c.misses.Load(), c.wrong.Load())
	if c.misses.Load() != 0 {
		t.Errorf("%d of %d checks missed an acknowledged statement", c.misses.Load(), c.checked.Load())
	}
	if c.wrong.Load() != 0 {
		t.Errorf("%d checks denied a token that no statement covers", c.wrong.Load())
	}
}

func checkerConfig(clock *fakeClock) cache.Config {
	return cache.Config{Grace: checkerGrace * time.Second, Now: clock.Now}
}
