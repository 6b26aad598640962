package cache

import (
	"runtime"
	"sync/atomic"
)

// gate counts lookups in a ristretto and keeps Close from running beside them: a Get
// beside a Close may panic inside ristretto. It is striped, so that lookups on several
// cores do not share a cache line, and the counters it needs are the statistics we want.
type gate struct {
	shut    atomic.Bool
	stripes [16]struct {
		begun, hits, misses atomic.Uint64
		_                   [40]byte
	}
}

// enter admits a lookup of the key with this hash, which must end with leave.
func (g *gate) enter(h uint64) bool {
	g.stripes[h&15].begun.Add(1)
	if g.shut.Load() {
		g.leave(h, false)
		return false
	}
	return true
}

func (g *gate) leave(h uint64, hit bool) {
	if hit {
		g.stripes[h&15].hits.Add(1)
	} else {
		g.stripes[h&15].misses.Add(1)
	}
}

// close lets nobody in any more and waits for those inside.
func (g *gate) close() {
	g.shut.Store(true)
	for i := range g.stripes {
		s := &g.stripes[i]
		// The ends are read before the beginnings: equal means nobody was inside.
		for {
			ended := s.hits.Load() + s.misses.Load()
			if s.begun.Load() == ended {
				break
			}
			runtime.Gosched()
		}
	}
}

func (g *gate) counts() (hits, misses uint64) {
	for i := range g.stripes {
		hits += g.stripes[i].hits.Load()
		misses += g.stripes[i].misses.Load()
	}
	return hits, misses
}
