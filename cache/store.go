package cache

import (
	"fmt"
	"math"
	"time"

	"github.com/dgraph-io/ristretto/v2"
)

// store is where the details of statements are kept. It may lose anything at any time:
// what it loses is noticed by the read-back or costs an explanation, never a verdict.
type store interface {
	// set stores a detail for at least ttl, but not in the place of one that belongs to
	// another key; false means that it certainly did not.
	set(key uint64, d detail, ttl time.Duration) bool
	// get must be safe beside set. It may miss what wait has not covered.
	get(key uint64) (detail, bool)
	// wait returns once every earlier set has been decided.
	wait()
	close()
}

// recordBytes is what one detail costs in ristretto with its bookkeeping, measured at
// one million entries.
const recordBytes = 208

// ristrettoStore is a store on ristretto. Cost 0 with IgnoreInternalCost makes admission
// and eviction unreachable code; with a cost it forgets what exceeds its budget.
type ristrettoStore struct {
	c    *ristretto.Cache[uint64, detail]
	cost int64
}

// newRistretto makes a store that keeps everything (budget 0) or about budget bytes.
func newRistretto(budget int64) (*ristrettoStore, error) {
	cfg := ristretto.Config[uint64, detail]{
		NumCounters:        1 << 10, // the admission policy is idle
		MaxCost:            math.MaxInt64,
		IgnoreInternalCost: true,
		BufferItems:        64,
		ShouldUpdate:       func(cur, prev detail) bool { return prev.belongs(uint32(cur >> 48)) },
	}
	s := &ristrettoStore{}
	if budget > 0 {
		s.cost = recordBytes
		cfg.MaxCost = max(budget, recordBytes)
		cfg.NumCounters = max(1<<10, 2*budget/recordBytes)
	}
	var err error
	if s.c, err = ristretto.NewCache(&cfg); err != nil {
		return nil, fmt.Errorf("make ristretto store: %w", err)
	}
	return s, nil
}

func (s *ristrettoStore) set(key uint64, d detail, ttl time.Duration) bool {
	return s.c.SetWithTTL(key, d, s.cost, ttl)
}

func (s *ristrettoStore) get(key uint64) (detail, bool) { return s.c.Get(key) }
func (s *ristrettoStore) wait()                         { s.c.Wait() }
func (s *ristrettoStore) close()                        { s.c.Close() }
