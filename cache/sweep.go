package cache

import (
	"context"
	"time"
)

// Run lets entries leave once Until+Grace has passed by both clocks, a 64th of them at a
// time, so that it never holds up a new statement. It returns nil when ctx ends. One
// Run per denylist is enough.
func (d *Denylist) Run(ctx context.Context) error {
	if d == nil {
		return ErrClosed
	}
	tick := time.NewTicker(d.interval / shardCount)
	defer tick.Stop()
	for n := 0; ; n = (n + 1) % shardCount {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			d.sweepStep(n, false)
		}
	}
}

// Sweep removes every expired entry now and returns how many there were. Run does the
// same at its own pace and leaves a few for up to a minute.
func (d *Denylist) Sweep() int {
	if d == nil {
		return 0
	}
	removed := 0
	for n := range shardCount {
		removed += d.sweepStep(n, true)
	}
	return removed
}

func (d *Denylist) sweepStep(n int, all bool) int {
	d.sweeping.Lock()
	defer d.sweeping.Unlock()
	limit := d.limit(d.clock.horizon())
	removed := 0
	for s := Token; s <= Issuer; s++ {
		removed += d.index[s].sweep(n, limit, all)
	}
	if n == 0 {
		d.details.sweep(limit)
		d.sums.forget(limit)
	}
	d.counters.expired.Add(uint64(removed))
	return removed
}
