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

func (s *Statement) cutoff() cutoff {
	switch {
	case s.Scope.whole():
		return cutoff{before: none, genBefore: none}
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

// pin is a cutoff that readers load while the one writer raises it. Every field only
// grows, and each of its values alone is covered by a statement: a reader that sees one
// field raised and another not yet sees less than the whole, never more.
type pin struct {
	before    atomic.Int64
	gen       atomic.Uint64
	genBefore atomic.Int64

	mark uint64 // the digest's; only touched with the shard locked
}

func (p *pin) load() cutoff {
	return cutoff{before: p.before.Load(), gen: p.gen.Load(), genBefore: p.genBefore.Load()}
}

func (p *pin) store(c cutoff) {
	p.before.Store(c.before)
	p.genBefore.Store(c.genBefore)
	p.gen.Store(c.gen)
}

// covers applies the verdict rule: a generation, where token and entry have one, else
// the time of issue; a token without iat cannot prove that it is newer.
func (p *pin) covers(r *Ref) (part, bool) {
	if before := p.before.Load(); before != none && (!r.hasIat || r.iat <= before) {
		return partBefore, true
	}
	gen := p.gen.Load()
	if gen == 0 {
		return 0, false
	}
	if r.hasGen {
		return partGen, r.gen < gen
	}
	return partGenBefore, !r.hasIat || r.iat <= p.genBefore.Load()
}
