package cache

import (
	"math"
	"math/bits"
	"sync/atomic"
)

// A table is an open-addressing hash table that readers use without a lock while one
// writer adds to it. Slots come in groups of seven, and a word for each group tells what
// is there: seven tags (a byte of the hash each, 0 = free), and a byte with a bit for
// every eighth of the hashes that found the group full and went on. So nearly every miss
// reads one word. Nothing is ever taken out or moved: growth and expiry build a new
// table. Its arrays hold no pointers, so the garbage collector does not scan them.
type table struct {
	groups uint64
	words  []atomic.Uint64
	slots  []slot
	pins   []atomic.Uint64 // parallel to slots; nil if the scope has no cutoffs
	wides  []wide          // for pins that say so
	// The writer's:
	used  int
	wider int            // how many of wides are taken
	ends  map[int]cutoff // of the entries whose ending is not their cutoff
}

// slot is one entry: the first hash, then 32 bits of the second one and until.
type slot struct {
	hash atomic.Uint64
	meta atomic.Uint64
}

const (
	groupSize = 7
	lowBits   = 0x0001010101010101 // of the seven tags
	highBits  = lowBits << 7

	// untilMax stands for every later time: such an entry never expires.
	untilMax = 1<<32 - 1
)

func pack(second, until uint32) uint64 { return uint64(second)<<32 | uint64(until) }

// newTable makes a table with room for n entries at a load of at most 3/4. So many of
// them may have a wide pin; a negative number means that the scope has no cutoffs.
func newTable(n, wides int) *table {
	groups := n*4/(groupSize*3) + 1
	t := &table{
		groups: uint64(groups),
		words:  make([]atomic.Uint64, groups),
		slots:  make([]slot, groups*groupSize),
	}
	if wides >= 0 {
		t.pins = make([]atomic.Uint64, groups*groupSize)
		t.wides = make([]wide, wides)
	}
	return t
}

func (t *table) full() bool { return (t.used+1)*4 > len(t.slots)*3 }

func (t *table) bytes() int64 {
	return int64(len(t.words)*8 + len(t.slots)*16 + len(t.pins)*8 + len(t.wides)*24)
}

// cutoff is that of an entry of a scope with cutoffs.
func (t *table) cutoff(i int) cutoff {
	word := t.pins[i].Load()
	if word&pinKind == pinWide {
		return t.wides[word&^pinKind].load()
	}
	return unpin(word)
}

// pin raises an entry's cutoff to c. It is false, and nothing has changed, if there is no
// room for a wide one. The caller holds the shard.
func (t *table) pin(i int, c cutoff) bool {
	if word := t.pins[i].Load(); word&pinKind == pinWide {
		t.wides[word&^pinKind].store(c)
		return true
	}
	word, ok := c.narrow()
	if !ok {
		if t.wider == len(t.wides) {
			return false
		}
		t.wides[t.wider].store(c)
		word = pinWide | uint64(t.wider)
		t.wider++
	}
	t.pins[i].Store(word)
	return true
}

// ending is the cutoff that the entry's ending has. The caller holds the shard.
func (t *table) ending(i int) cutoff {
	if c, ok := t.ends[i]; ok {
		return c
	}
	return t.cutoff(i)
}

func (t *table) setEnding(i int, c cutoff) {
	if t.cutoff(i) == c {
		delete(t.ends, i)
		return
	}
	if t.ends == nil {
		t.ends = map[int]cutoff{}
	}
	t.ends[i] = c
}

// home is the group where the search for a hash begins, from its lower half.
func (t *table) home(h uint64) uint64 { return uint64(uint32(h)) * t.groups >> 32 }

// after is the group to go on with.
func (t *table) after(g uint64) uint64 {
	if g++; g < t.groups {
		return g
	}
	return 0
}

// tagOf takes bits that choose neither the shard nor the group; 0 means free.
func tagOf(h uint64) uint64 {
	if tag := h >> 48 & 0xff; tag != 0 {
		return tag
	}
	return 1
}

// onward is the bit of a group's word that says that hashes like h may be further on.
func onward(h uint64) uint64 { return 1 << (56 + h>>40&7) }

// matches marks the tags of w that equal h's. Tags above the lowest one marked may be
// marked wrongly, so a mark is a hint, while no mark at all is certain.
func matches(w, h uint64) uint64 { return freeTags(w ^ tagOf(h)*lowBits) }

// freeTags marks the zero tags of w, with the same caution.
func freeTags(w uint64) uint64 { return (w&tagBits - lowBits) &^ w & highBits }

const tagBits = 1<<56 - 1

// word is what a search for h reads first.
func (t *table) word(h uint64) uint64 { return t.words[t.home(h)].Load() }

// absent reports, from the first word alone, that there is no entry with this hash.
func absent(w, h uint64) bool { return matches(w, h)|w&onward(h) == 0 }

// find returns the position of the entry with both hashes, or -1.
func (t *table) find(h uint64, second uint32) int {
	for g := t.home(h); ; g = t.after(g) {
		w := t.words[g].Load()
		for m := matches(w, h); m != 0; m &= m - 1 {
			at := bits.TrailingZeros64(m) &^ 7
			if w>>at&0xff != tagOf(h) {
				continue // wrongly marked
			}
			i := g*groupSize + uint64(at>>3)
			if s := &t.slots[i]; s.hash.Load() == h && uint32(s.meta.Load()>>32) == second {
				return int(i)
			}
		}
		if w&onward(h) == 0 {
			return -1
		}
	}
}

// has reports whether some entry has the first hash.
func (t *table) has(h uint64) bool {
	for g := t.home(h); ; g = t.after(g) {
		w := t.words[g].Load()
		for m := matches(w, h); m != 0; m &= m - 1 {
			if t.slots[g*groupSize+uint64(bits.TrailingZeros64(m)>>3)].hash.Load() == h {
				return true
			}
		}
		if w&onward(h) == 0 {
			return false
		}
	}
}

// insert adds an entry that is not there; it is false, and nothing has changed, if its
// cutoff found no room. The caller holds the shard and has made room for the entry. The tag is published last: whoever sees it sees the rest, and whoever needs to go on to
// it has been told to.
func (t *table) insert(h, meta uint64, c, end cutoff) bool {
	for g := t.home(h); ; g = t.after(g) {
		w := t.words[g].Load()
		free := freeTags(w)
		if free == 0 {
			t.words[g].Store(w | onward(h))
			continue
		}
		at := uint64(bits.TrailingZeros64(free) >> 3)
		i := g*groupSize + at
		if t.pins != nil {
			if !t.pin(int(i), c) {
				return false
			}
			t.setEnding(int(i), end)
		}
		t.slots[i].meta.Store(meta)
		t.slots[i].hash.Store(h)
		t.words[g].Store(w | tagOf(h)<<(at*8))
		t.used++
		return true
	}
}

// each calls f for every entry with its position. The caller holds the shard.
func (t *table) each(f func(i int, h, meta uint64)) {
	for g := range t.words {
		w := t.words[g].Load() & tagBits
		for at := 0; w != 0; at++ {
			if w&0xff != 0 {
				s := &t.slots[g*groupSize+at]
				f(g*groupSize+at, s.hash.Load(), s.meta.Load())
			}
			w >>= 8
		}
	}
}

// rebuild copies the entries whose until is not below limit into a new table with room
// for n of them, and for so many more wide pins than they have.
func (t *table) rebuild(n, wider int, limit int64) *table {
	wides := -1
	if t.pins != nil {
		wides = wider
		t.each(func(i int, _, meta uint64) {
			if t.pins[i].Load()&pinKind == pinWide && !expired(meta, limit) {
				wides++
			}
		})
	}
	next := newTable(n, wides)
	t.each(func(i int, h, meta uint64) {
		if expired(meta, limit) {
			return
		}
		var c, end cutoff
		if t.pins != nil {
			c, end = t.cutoff(i), t.ending(i)
		}
		next.insert(h, meta, c, end)
	})
	return next
}

// roomier is a copy of the same size with room for a quarter more wide pins.
func (t *table) roomier() *table { return t.rebuild(len(t.slots)*3/4, t.wider/4+8, math.MinInt64) }

func expired(meta uint64, limit int64) bool {
	until := uint32(meta)
	return until != untilMax && int64(until) < limit
}
