package cache

import "sync/atomic"

// Stats are the denylist's numbers at one moment. Counters only grow.
type Stats struct {
	Entries  int         // keys held
	PerScope [scopes]int // keys held, indexed by Scope

	Applied uint64 // statements that made an entry
	Merged  uint64 // statements joined into one
	Late    uint64 // statements that had expired before they came
	Invalid uint64 // statements refused with ErrInvalid
	Full    uint64 // statements refused with ErrFull
	Expired uint64 // entries that left

	// RecordMissing counts answers that could not name their statement. The answer was
	// "revoked" all the same.
	RecordMissing struct {
		Forgotten uint64 // as DetailBytes allows
		Lost      uint64 // must stay 0
	}
	Retried  uint64 // details that had to be written again
	Overflow int    // details held outside ristretto, because it did not keep them

	IndexBytes int64 // memory of the index
}

type counters struct {
	applied, merged, late, invalid, full, expired, forgotten, lost atomic.Uint64
}

// Stats returns the current numbers. It looks at every shard: cheap, but not for every
// request.
func (d *Denylist) Stats() Stats {
	var st Stats
	if d == nil {
		return st
	}
	for s := Token; s <= Issuer; s++ {
		n := int(d.index[s].count.Load())
		st.PerScope[s] = n
		st.Entries += n
		st.IndexBytes += d.index[s].bytes()
	}
	c := &d.counters
	st.Applied, st.Merged, st.Late = c.applied.Load(), c.merged.Load(), c.late.Load()
	st.Invalid, st.Full, st.Expired = c.invalid.Load(), c.full.Load(), c.expired.Load()
	st.RecordMissing.Forgotten, st.RecordMissing.Lost = c.forgotten.Load(), c.lost.Load()
	st.Retried = d.details.retried.Load()
	st.Overflow = int(d.details.room.stayed.Load())
	return st
}
