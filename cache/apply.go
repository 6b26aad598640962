package cache

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// batchSize keeps ristretto's write buffer (32,768) from ever filling.
const batchSize = 256

// Apply adds statements. Each takes effect, for every Check that begins later, while
// Apply still runs; nil means that every one has, and will stay until its Until has
// passed. Statements are joined per key: order and repetition do not matter. Ristretto
// hears of them a moment later.
//
// Errors: ErrInvalid (the others were applied), ErrFull (statements about keys already
// held were applied), ErrClosed. Applying a batch again is harmless. Calls wait for each
// other. Statements that have expired for good are skipped.
func (d *Denylist) Apply(batch []Statement) error {
	if d == nil {
		return ErrClosed
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed.Load() {
		return ErrClosed
	}
	var invalid error
	full := 0
	for len(batch) > 0 {
		n := min(len(batch), batchSize)
		refused, err := d.applyChunk(batch[:n])
		if invalid == nil {
			invalid = err
		}
		full += refused
		batch = batch[n:]
	}
	if full > 0 {
		return errors.Join(fmt.Errorf("%w: %d statements refused, %d entries held", ErrFull, full, d.entries()), invalid)
	}
	return invalid
}

// applyChunk returns how many statements found no room, and the first invalid one.
func (d *Denylist) applyChunk(batch []Statement) (refused int, invalid error) {
	horizon := d.clock.horizon()
	for i := range batch {
		s := &batch[i]
		if err := s.validate(); err != nil {
			d.counters.invalid.Add(1)
			if invalid == nil {
				invalid = fmt.Errorf("apply statement %d: %w", i, err)
			}
			continue
		}
		if expired(uint64(clampUntil(s.Until)), d.limit(horizon)) {
			d.counters.late.Add(1)
			continue
		}
		if !d.put(s) {
			refused++
			d.counters.full.Add(1)
		}
	}
	d.details.settle()
	return refused, invalid
}

// put makes one statement effective and notes what to remember about it.
func (d *Denylist) put(s *Statement) bool {
	h := d.hash.first(s.Scope, d.hash.issuerHash(s.Issuer), s.Issuer, s.Key)
	second := d.hash.second(s.Scope, s.Issuer, s.Key)
	m := d.index[s.Scope].put(h, second, clampUntil(s.Until), s.cutoff(), d.entries() < d.max, func(m merged) {
		for p, do := range m.names {
			if do != leave {
				d.details.note(note{ticket{hash: h, check: second, part: part(p), scope: s.Scope}, held{seq: s.Sequence, until: m.until, action: do}})
			}
		}
	})
	if m.refused {
		return false
	}
	d.sums.move(s, m)
	if m.inserted {
		d.counters.applied.Add(1)
	} else {
		d.counters.merged.Add(1)
	}
	return true
}

// limit is the until below which an entry has expired for good.
func (d *Denylist) limit(horizon int64) int64 {
	if horizon == math.MinInt64 {
		return horizon
	}
	return horizon - d.grace
}

func clampUntil(until int64) uint32 { return uint32(min(until, untilMax)) }

const (
	slack  = 10 * time.Minute // a detail outlives its entry by at least this
	spread = 10 * time.Minute // per million entries: the window their removal is spread over
)

// lifetimes returns how long ristretto keeps a detail. Details that end together are
// spread, by their hash, over a window that grows with their number: ristretto removes
// five seconds' worth at a stretch and takes no writes meanwhile.
func (d *Denylist) lifetimes() func(note) time.Duration {
	now := d.clock.now()
	window := uint64(spread/time.Second) * uint64(1+d.entries()/1_000_000)
	return func(n note) time.Duration {
		jitter := time.Duration(n.hash>>8%window) * time.Second
		ends := time.Unix(int64(n.until)+d.grace, 0)
		return max(ends.Sub(now), 0) + slack + jitter
	}
}
