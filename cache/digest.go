package cache

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Digest names a set of living statements: two denylists that hold the same ones have the same Sum, whatever the
// order, the repetitions and the restarts by which they came to it. It finds losses; it does not resist a forger.
type Digest struct {
	// From is the whole minute that the digest begins with: entries with an earlier Until are left out, because each
	// node forgets those at its own pace. Digests are comparable if From is equal.
	From time.Time
	// Sum over the entries. 0 if there are none.
	Sum uint64
}

// Digest covers the entries that live at the whole minute after at, or longer. It reads one number for each minute
// in which entries end: cheap, but not for every request.
func (d *Denylist) Digest(at time.Time) Digest {
	from := at.Truncate(time.Minute).Add(time.Minute).UTC()
	if d == nil || d.closed.Load() {
		return Digest{From: from}
	}
	return Digest{From: from, Sum: d.sums.from(from.Unix())}
}

// sums holds what the entries contribute, by the minute in which they end, so that nothing needs to be known about an
// entry that leaves.
type sums struct {
	mu       sync.Mutex
	byMinute map[uint32]uint64 // by until/60
	buf      []byte            // the one writer's
}

func (s *sums) from(second int64) (sum uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for minute, v := range s.byMinute {
		if int64(minute)*60 >= second {
			sum += v
		}
	}
	return sum
}

// forget drops the minutes before a second.
func (s *sums) forget(second int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for minute := range s.byMinute {
		if int64(minute)*60+60 <= second {
			delete(s.byMinute, minute)
		}
	}
}

// move takes an entry's old contribution out and puts the new one in. A sum of sums may be taken apart again because
// addition modulo 2^64 forgets no order.
func (s *sums) move(st *Statement, m merged) {
	if !m.inserted && m.was == m.is {
		return
	}
	now := s.of(st, m.is)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byMinute == nil {
		s.byMinute = map[uint32]uint64{}
	}
	if !m.inserted {
		s.byMinute[m.was.until/60] -= s.of(st, m.was)
	}
	s.byMinute[m.is.until/60] += now
}

func (s *sums) of(st *Statement, e ending) uint64 {
	b := append(s.buf[:0], byte(st.Scope))
	b = binary.AppendUvarint(b, uint64(len(st.Issuer)))
	b = append(append(b, st.Issuer...), st.Key...)
	b = binary.LittleEndian.AppendUint32(b, e.until)
	b = binary.LittleEndian.AppendUint64(b, e.cut.mark())
	s.buf = b
	return xxhash.Sum64(b)
}

// ending is what an entry's contribution is made of: its until, and the join of the statements that have that until.
// Statements that end earlier say nothing, since a node that started after their end never saw them. So it is the same for
// any order and repetition.
type ending struct {
	until uint32
	cut   cutoff
}

// mark is a number for a cutoff; 0 in scopes without.
func (c cutoff) mark() uint64 {
	if c.before == none && c.genBefore == none {
		return 0
	}
	var b [24]byte
	binary.LittleEndian.PutUint64(b[0:], uint64(c.before))
	binary.LittleEndian.PutUint64(b[8:], c.gen)
	binary.LittleEndian.PutUint64(b[16:], uint64(c.genBefore))
	return xxhash.Sum64(b[:])
}

// join is the ending of an entry with one more statement.
func (e ending) join(until uint32, c cutoff) ending {
	switch {
	case until > e.until:
		return ending{until, c}
	case until == e.until:
		return ending{until, e.cut.join(c)}
	}
	return e
}
