package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	bloomfilter "github.com/krakendio/bloomfilter/v2"
	"github.com/krakendio/bloomfilter/v2/rotate"
)

// mistakes of the filter that KrakenD uses, in the way it uses it.
type mistakes struct {
	planned int
	missed  map[int]float64 // share of revoked identifiers that were not found, by the goroutines that ask
	lost    float64         // share lost for good when two goroutines add
	rotated []rotated
	wrong   []wrong
}

// rotated is how many of the identifiers are found, so many TTLs after they were added.
type rotated struct {
	ttls  int
	found float64
}

// wrong is how many identifiers that nobody revoked are found, with so many times the plan in the filter.
type wrong struct {
	times int
	share float64
}

const falsePositives = 1e-6 // as planned

// identifiers are random, as those of tokens are.
func identifiers(n int, seed byte) [][]byte {
	r := rand.NewChaCha8([32]byte{seed})
	out := make([][]byte, n)
	for i := range out {
		out[i] = fmt.Appendf(nil, "jti-%016x%016x", r.Uint64(), r.Uint64())
	}
	return out
}

func newFilter(n int, ttl uint) (*rotate.Bloomfilter, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	return rotate.New(ctx, rotate.Config{TTL: ttl, Config: bloomfilter.Config{N: uint(n), P: falsePositives, HashName: bloomfilter.HASHER_OPTIMAL}}), cancel
}

// inParallel calls f for 0..n-1 on so many goroutines and returns for how many it was true.
func inParallel(goroutines, n int, f func(i int) bool) float64 {
	var yes atomic.Int64
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := g; i < n; i += goroutines {
				if f(i) {
					yes.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return float64(yes.Load()) / float64(n)
}

func countMistakes(n int) mistakes {
	m := mistakes{planned: n, missed: map[int]float64{}}
	revoked, others := identifiers(4*n, 1), identifiers(20*n, 2)
	filter, stop := newFilter(n, 3600)
	for i := range n {
		filter.Add(revoked[i])
	}
	for _, goroutines := range []int{1, 2, 8, 32} {
		m.missed[goroutines] = inParallel(goroutines, 10*n, func(i int) bool { return !filter.Check(revoked[i%n]) })
	}
	stop()

	filter, stop = newFilter(n, 3600)
	inParallel(2, n, func(i int) bool { filter.Add(revoked[i]); return true })
	m.lost = inParallel(1, n, func(i int) bool { return !filter.Check(revoked[i]) })
	stop()

	filter, stop = newFilter(n, 1)
	start := time.Now()
	for i := range n {
		filter.Add(revoked[i])
	}
	for ttls := range 5 {
		time.Sleep(time.Until(start.Add(time.Duration(ttls)*time.Second + 500*time.Millisecond)))
		m.rotated = append(m.rotated, rotated{ttls, inParallel(1, n, func(i int) bool { return filter.Check(revoked[i]) })})
	}
	stop()

	filter, stop = newFilter(n, 3600)
	defer stop()
	added := 0
	for _, times := range []int{1, 2, 4} {
		for ; added < times*n; added++ {
			filter.Add(revoked[added])
		}
		m.wrong = append(m.wrong, wrong{times, inParallel(1, len(others), func(i int) bool { return filter.Check(others[i]) })})
	}
	return m
}
