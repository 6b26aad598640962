package cache_test

import (
	"math"
	"sync"
	"testing"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/quash-auth/quash/cache"
)

// TestG3_TheCheckerCatchesLoss: three plausible denylists that lose, each must be caught.
func TestG3_TheCheckerCatchesLoss(t *testing.T) {
	ids := &ids{}
	t.Run("trust Set", func(t *testing.T) {
		clock := newFakeClock()
		l := &trusting{ids: ids, c: plainRistretto(t, 1<<30, nil)}
		c := newChecker(l, clock, 20_000, ids.ref)
		c.run(t, checks, true)
		if c.misses.Load() == 0 {
			t.Errorf("no miss in %d checks of a list that trusts Set", c.checked.Load())
		}
	})
	t.Run("no index", func(t *testing.T) {
		clock := newFakeClock()
		l := &trusting{ids: ids, c: plainRistretto(t, 100, nil), wait: true}
		c := newChecker(l, clock, 20_000, ids.ref)
		c.run(t, checks, true)
		if c.misses.Load() == 0 {
			t.Errorf("no miss in %d checks of a small ristretto alone", c.checked.Load())
		}
	})
	t.Run("overflow fed by callbacks", func(t *testing.T) {
		clock := newFakeClock()
		l := &trusting{ids: ids, wait: true}
		// The moment between forgetting and remembering, held open for a reader.
		moment := make(chan uint64)
		over := make(chan struct{})
		l.c = plainRistretto(t, 10, func(item *ristretto.Item[bool]) {
			select {
			case moment <- item.Key:
				<-over
			case <-t.Context().Done():
			}
			l.overflow.Store(item.Key, true)
		})
		c := newChecker(l, clock, 100, ids.ref)
		for k := range 100 {
			ack := make(chan struct{})
			go func() {
				defer close(ack)
				claims := claimsOf(k)
				if err := l.Apply([]cache.Statement{{Scope: scopeOf(k), Issuer: "i", Key: claims.ID + claims.Session + claims.Subject}}); err != nil {
					t.Error(err)
				}
			}()
			for waiting := true; waiting; {
				select {
				case <-ack:
					waiting = false
				case <-moment:
					for asked := range k {
						c.ask(asked)
					}
					over <- struct{}{}
				}
			}
			c.acked[k].Store(math.MaxInt32)
		}
		if c.misses.Load() == 0 {
			t.Error("no miss between eviction and callback")
		}
	})
}

// ids numbers claims, because a control keeps no hashes of a denylist's own.
type ids struct {
	mu    sync.Mutex
	names map[string]uint64
}

func (x *ids) of(name string) uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.names == nil {
		x.names = make(map[string]uint64)
	}
	if _, ok := x.names[name]; !ok {
		x.names[name] = uint64(len(x.names) + 1)
	}
	return x.names[name]
}

func (x *ids) ref(c cache.Claims) cache.Ref {
	return cache.RefWithGen(x.of(c.ID + c.Session + c.Subject))
}

func plainRistretto(t *testing.T, maxCost int64, evicted func(*ristretto.Item[bool])) *ristretto.Cache[uint64, bool] {
	t.Helper()
	c, err := ristretto.NewCache(&ristretto.Config[uint64, bool]{
		NumCounters: 1e6, MaxCost: maxCost, IgnoreInternalCost: true, BufferItems: 64, OnEvict: evicted,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// trusting is a denylist as one writes it on a Friday.
type trusting struct {
	ids      *ids
	c        *ristretto.Cache[uint64, bool]
	wait     bool
	overflow sync.Map
}

func (l *trusting) Apply(batch []cache.Statement) error {
	for _, s := range batch {
		l.c.Set(l.ids.of(s.Key), true, 1)
	}
	if l.wait {
		l.c.Wait()
	}
	return nil
}

func (l *trusting) Check(r *cache.Ref) cache.Verdict {
	id := cache.GenOf(r)
	_, ok := l.c.Get(id)
	if !ok {
		_, ok = l.overflow.Load(id)
	}
	return cache.Verdict{Revoked: ok}
}

func (l *trusting) Sweep() int { return 0 }
