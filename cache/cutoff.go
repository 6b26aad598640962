package cache

import (
	"math"
	"sync/atomic"
)

// none is the cutoff that covers no token with an iat, because there is no statement.
const none = math.MinInt64

// cutoff is the part of an entry that decides which tokens are covered.
type cutoff struct {
	before    int64 // of statements without a generation; none if there is none
	gen       uint64
	genBefore int64 // of statements with one; none if there is none
}

var noCutoff = cutoff{before: none, genBefore: none}

func (s *Statement) cutoff() cutoff {
	switch {
	case s.Scope.whole():
		return noCutoff
	case s.Gen > 0:
		return cutoff{before: none, gen: s.Gen, genBefore: s.Before}
	}
	return cutoff{before: s.Before, genBefore: none}
}

// part names the maximum that covers a token, and so the statement it came from.
type part uint8

const (
	partWhole  part = iota // presence
	partBefore             // cutoff.before
	partGen                // cutoff.gen
	partGenBefore
	parts = int(partGenBefore) + 1
)

// covers applies the verdict rule: a generation, where token and entry have one, else
// the time of issue; a token without iat cannot prove that it is newer.
func (c cutoff) covers(r *Ref) (part, bool) {
	if c.before != none && (!r.hasIat || r.iat <= c.before) {
		return partBefore, true
	}
	if c.gen == 0 {
		return 0, false
	}
	if r.hasGen {
		return partGen, r.gen < c.gen
	}
	return partGenBefore, !r.hasIat || r.iat <= c.genBefore
}

// join is the larger of each.
func (c cutoff) join(o cutoff) cutoff {
	return cutoff{before: max(c.before, o.before), gen: max(c.gen, o.gen), genBefore: max(c.genBefore, o.genBefore)}
}

// names says what becomes of the names of an entry's statements when c is joined into its cutoff, and whether the entry
// lives longer from then on: with it each of its names must.
func (c cutoff) names(with cutoff, longer bool) (do [parts]action) {
	do[partBefore] = rename(c.before, with.before, none, longer)
	do[partGen] = rename(c.gen, with.gen, 0, longer)
	do[partGenBefore] = rename(c.genBefore, with.genBefore, none, longer)
	return do
}

func rename[T int64 | uint64](old, with, absent T, longer bool) action {
	switch {
	case with > old:
		return replace
	case with == old && with != absent:
		return newest
	case old != absent && longer:
		return extend
	}
	return leave
}

// A pin is a cutoff in one word, so that readers see it change at once. Nearly every entry
// has either a time or a generation; what does not fit is kept wide, and the word says
// where.
//
//	00 the time, 0 for none
//	01 the generation, and the time of statements with one
//	10 the place of a wide one
const (
	pinGen  = 1 << 62
	pinWide = 2 << 62
	pinKind = 3 << 62

	pinAlways = pinGen - 1 // stands for Always
	genBits   = 30
)

// narrow returns the pin of a cutoff that fits into one.
func (c cutoff) narrow() (word uint64, ok bool) {
	switch {
	case c.gen == 0 && c.genBefore == none:
		switch {
		case c.before == none:
			return 0, true
		case c.before == Always:
			return pinAlways, true
		}
		return uint64(c.before), c.before > 0 && c.before < pinAlways
	case c.before == none:
		return pinGen | c.gen<<32 | uint64(uint32(c.genBefore)),
			c.gen < 1<<genBits && c.genBefore >= 0 && c.genBefore <= math.MaxUint32
	}
	return 0, false
}

// unpin is the cutoff of a pin that is not wide.
func unpin(word uint64) cutoff {
	switch {
	case word == 0:
		return noCutoff
	case word&pinKind == pinGen:
		return cutoff{before: none, gen: word &^ pinKind >> 32, genBefore: int64(uint32(word))}
	case word == pinAlways:
		return cutoff{before: Always, genBefore: none}
	}
	return cutoff{before: int64(word), genBefore: none}
}

// wide is a cutoff that readers load while the one writer raises it. Every field only
// grows, and each of its values alone is covered by a statement: a reader that sees one
// field raised and another not yet sees less than the whole, never more.
type wide struct {
	before    atomic.Int64
	gen       atomic.Uint64
	genBefore atomic.Int64
}

func (w *wide) load() cutoff {
	return cutoff{before: w.before.Load(), gen: w.gen.Load(), genBefore: w.genBefore.Load()}
}

func (w *wide) store(c cutoff) {
	w.before.Store(c.before)
	w.genBefore.Store(c.genBefore)
	w.gen.Store(c.gen)
}
