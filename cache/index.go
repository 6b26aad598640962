package cache

import (
	"math"
	"sync"
	"sync/atomic"
)

const shardCount = 64

// index is the exact set of living entries of one scope: the truth about presence.
// Readers take no lock; writers and the sweep lock one shard at a time, so a sweep never
// holds up more than the statements of one shard, and those for well under 10 ms.
type index struct {
	tables [shardCount]atomic.Pointer[table] // by the top bits of the first hash; nil = empty
	count  atomic.Int64                      // raised before an entry can be seen, lowered after it is gone
	pinned bool
	shards [shardCount]shard
}

type shard struct {
	mu       sync.Mutex // guards replacing and filling the table, and the next field
	earliest uint32     // no entry's until is below it
	_        [48]byte
}

func (ix *index) init(pinned bool) {
	ix.pinned = pinned
	for i := range ix.shards {
		ix.shards[i].earliest = math.MaxUint32
	}
}

func (ix *index) table(h uint64) *table { return ix.tables[h>>58].Load() }

// merged says what a statement did to its entry.
type merged struct {
	inserted bool
	refused  bool   // a new key, and no room
	until    uint32 // of the entry now
	was, is  ending // what its digest is made of, before and now
	names    [parts]action
}

// put joins a statement into the index; when it returns, every reader sees it. A new
// key needs room. It calls tell before any reader can see something of it, so that who
// sees a statement can name it; a refused one is not told.
func (ix *index) put(h uint64, second, until uint32, c cutoff, room bool, tell func(merged)) merged {
	n := h >> 58
	sh := &ix.shards[n]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	t := ix.tables[n].Load()
	if t != nil {
		if i := t.find(h, second); i >= 0 {
			return ix.join(n, t, i, until, c, tell)
		}
	}
	if !room {
		return merged{refused: true}
	}
	m := merged{inserted: true, until: until, is: ending{until, c}, names: noCutoff.names(c, true)}
	if !ix.pinned {
		m.names[partWhole] = replace
	}
	tell(m)
	if t == nil {
		t = newTable(1, ix.wides(1))
		ix.tables[n].Store(t)
	} else if t.full() {
		t = t.rebuild(t.used+t.used/4+1, t.wider/4, math.MinInt64)
		ix.tables[n].Store(t)
	}
	sh.earliest = min(sh.earliest, until)
	ix.count.Add(1)
	if !t.insert(h, pack(second, until), c, c) {
		t = t.roomier()
		t.insert(h, pack(second, until), c, c)
		ix.tables[n].Store(t)
	}
	return m
}

// join raises the maxima of an entry of the nth shard, which the caller holds.
func (ix *index) join(n uint64, t *table, i int, until uint32, c cutoff, tell func(merged)) merged {
	meta := t.slots[i].meta.Load()
	m := merged{was: ending{uint32(meta), noCutoff}}
	old := noCutoff
	if t.pins != nil {
		m.was.cut, old = t.ending(i), t.cutoff(i)
	}
	m.is = m.was.join(until, c)
	m.until = m.is.until
	m.names = old.names(c, m.until > m.was.until)
	if t.pins == nil {
		m.names[partWhole] = newest
	}
	tell(m)
	if m.until > m.was.until {
		t.slots[i].meta.Store(meta&^uint64(untilMax) | uint64(until))
	}
	if t.pins == nil {
		return m
	}
	if all := old.join(c); all != old && !t.pin(i, all) {
		h, second := t.slots[i].hash.Load(), uint32(meta>>32)
		t = t.roomier()
		i = t.find(h, second)
		t.pin(i, all)
		ix.tables[n].Store(t)
	}
	t.setEnding(i, m.is.cut)
	return m
}

// wides is the room for wide pins in a new table, or less than none.
func (ix *index) wides(n int) int {
	if !ix.pinned {
		return -1
	}
	return n
}

// lateBy is how long, in seconds, a few expired entries may stay when rebuilding their
// shard is not worth it yet.
const lateBy = 60

// sweep drops the entries of one shard whose until is below limit. Unless all is set it
// leaves a few of them for later.
func (ix *index) sweep(n int, limit int64, all bool) int {
	sh := &ix.shards[n]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	t := ix.tables[n].Load()
	if t == nil || int64(sh.earliest) >= limit {
		return 0
	}
	dead, oldest, earliest := 0, uint32(math.MaxUint32), uint32(math.MaxUint32)
	t.each(func(_ int, _, meta uint64) {
		until := uint32(meta)
		if expired(meta, limit) {
			dead++
			oldest = min(oldest, until)
		} else {
			earliest = min(earliest, until)
		}
	})
	if dead > 0 && !all && dead*16 < t.used && int64(oldest)+lateBy >= limit {
		sh.earliest = oldest
		return 0
	}
	sh.earliest = earliest
	switch {
	case dead == 0:
		return 0
	case dead == t.used:
		ix.tables[n].Store(nil)
	default:
		ix.tables[n].Store(t.rebuild((t.used-dead)*9/8+1, 0, limit))
	}
	ix.count.Add(-int64(dead))
	return dead
}

func (ix *index) bytes() int64 {
	var n int64
	for i := range ix.tables {
		if t := ix.tables[i].Load(); t != nil {
			n += t.bytes()
		}
	}
	return n
}
