package cache_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dgraph-io/ristretto/v2"
)

// The tests here are about ristretto, not about us: the behaviour that the discipline in
// details.go answers to. If one fails after an upgrade, read that file again.

// held is a ristretto whose processing goroutine stands still until release is called.
func held(t *testing.T) (c *ristretto.Cache[uint64, uint64], release func()) {
	t.Helper()
	entered, gate := make(chan struct{}), make(chan struct{})
	c, err := ristretto.NewCache(&ristretto.Config[uint64, uint64]{
		NumCounters: 1 << 10, MaxCost: 1 << 40, IgnoreInternalCost: true, BufferItems: 64,
		OnReject: func(item *ristretto.Item[uint64]) {
			if item.Cost == math.MaxInt64 {
				close(entered)
				<-gate
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.Set(1<<63, 0, math.MaxInt64) // dearer than the cache: rejected, by the goroutine we hold
	<-entered
	return c, func() { close(gate) }
}

// TestG10_Fact1: a full write buffer refuses, and says so.
func TestG10_Fact1_BufferFull(t *testing.T) {
	c, release := held(t)
	var taken, refused []uint64
	for k := range uint64(40_000) {
		if c.Set(k, k, 0) {
			taken = append(taken, k)
		} else {
			refused = append(refused, k)
		}
	}
	release()
	c.Wait()
	if len(refused) == 0 || len(taken) < 32_000 {
		t.Fatalf("%d taken, %d refused; batches of 256 were sized for a buffer of 32,768", len(taken), len(refused))
	}
	for _, k := range taken {
		if _, ok := c.Get(k); !ok {
			t.Fatalf("key %d was taken and is gone, although cost 0 makes eviction unreachable", k)
		}
	}
	for _, k := range refused {
		if _, ok := c.Get(k); ok {
			t.Fatalf("key %d was refused and is there", k)
		}
	}
}

// TestG10_Fact3: the second Set of a key still in flight returns true and is dropped.
func TestG10_Fact3_SecondSetInFlight(t *testing.T) {
	c, release := held(t)
	if !c.Set(7, 1, 0) || !c.Set(7, 2, 0) {
		t.Fatal("refused")
	}
	release()
	c.Wait()
	if v, ok := c.Get(7); !ok || v != 1 {
		t.Errorf("got %d %v; the second of two quick Sets used to be dropped: one write per key and batch answers that", v, ok)
	}
}

// TestG10_Fact9And24: a Set is invisible until processed; after Wait it has been decided.
func TestG10_Fact9And24_VisibleAfterWait(t *testing.T) {
	c, release := held(t)
	c.Set(7, 1, 0)
	if _, ok := c.Get(7); ok {
		t.Error("visible before it was processed")
	}
	waited := make(chan struct{})
	go func() { c.Wait(); close(waited) }()
	select {
	case <-waited:
		t.Error("Wait passed a Set that is not decided")
	default:
	}
	release()
	<-waited
	if v, ok := c.Get(7); !ok || v != 1 {
		t.Errorf("after Wait: %d %v", v, ok)
	}
}

// TestG10_Fact13: the cleaner runs on the goroutine that serves Wait, so that a read-back
// after Wait sees all of its damage. (The damage itself, a live entry deleted because it
// was extended at the wrong moment, needs a race inside ristretto.)
func TestG10_Fact13_CleanerBeforeWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cleaning, gate := make(chan struct{}), make(chan struct{})
		c, err := ristretto.NewCache(&ristretto.Config[uint64, uint64]{
			NumCounters: 1 << 10, MaxCost: math.MaxInt64, IgnoreInternalCost: true, BufferItems: 64,
			OnEvict: func(item *ristretto.Item[uint64]) {
				if item.Key == 7 {
					close(cleaning)
					<-gate
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetWithTTL(7, 1, 0, time.Second)
		c.SetWithTTL(8, 1, 0, time.Hour)
		c.Wait()
		start := time.Now()
		<-cleaning
		if took := time.Since(start); took < time.Second || took > 20*time.Second {
			t.Errorf("expired after %v", took)
		}
		waited := make(chan struct{})
		go func() { c.Wait(); close(waited) }()
		synctest.Wait()
		select {
		case <-waited:
			t.Error("Wait does not wait for the cleaner")
		default:
		}
		close(gate)
		<-waited
		if _, ok := c.Get(7); ok {
			t.Error("an expired key is still there")
		}
		if _, ok := c.Get(8); !ok {
			t.Error("a living key is gone")
		}
	})
}

// TestG10_ShouldUpdate: a refused update leaves the old value and returns true.
func TestG10_ShouldUpdate(t *testing.T) {
	c, err := ristretto.NewCache(&ristretto.Config[uint64, uint64]{
		NumCounters: 1 << 10, MaxCost: math.MaxInt64, IgnoreInternalCost: true, BufferItems: 64,
		ShouldUpdate: func(cur, prev uint64) bool { return cur>>32 == prev>>32 },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, s := range []struct{ set, want uint64 }{{1<<32 | 1, 1<<32 | 1}, {1<<32 | 2, 1<<32 | 2}, {2<<32 | 3, 1<<32 | 2}} {
		c.SetWithTTL(7, s.set, 0, time.Hour)
		c.Wait()
		if v, ok := c.Get(7); !ok || v != s.want {
			t.Errorf("after setting %x: %x %v, want %x", s.set, v, ok, s.want)
		}
	}
}
