package events

import (
	"fmt"
	"sync"
	"time"
)

// mistakes remembers undecodable events: reading one again is not counted
// again, each kind is logged once, and none is ever confirmed as applied.
// Safe for concurrent use.
type mistakes struct {
	mu    sync.Mutex
	seen  map[uint64]mistake // by stream sequence
	kinds map[string]struct{}
	full  bool // there were more than can be remembered
}

const maxMistakes = 4096

// mistake is when an undecodable event was stored and when the stream drops it,
// by the server's clock; zero: no sooner than any other message.
type mistake struct{ at, end time.Time }

// note remembers an event and reports whether its kind is new.
func (m *mistakes) note(seq uint64, it mistake, kind string) (newKind bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen == nil {
		m.seen, m.kinds = make(map[uint64]mistake), make(map[string]struct{})
	}
	if len(m.seen) < maxMistakes {
		m.seen[seq] = it
	} else if _, ok := m.seen[seq]; !ok {
		m.full = true
	}
	if _, ok := m.kinds[kind]; !ok && len(m.kinds) < 64 {
		m.kinds[kind] = struct{}{}
		newKind = true
	}
	return newKind
}

// confirms returns an error if the event with this sequence could not be read.
func (m *mistakes) confirms(seq uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.seen[seq]; ok || m.full {
		return fmt.Errorf("%w: sequence %d is not in force on this node", ErrUndecodable, seq)
	}
	return nil
}

// alive returns how many of them the stream may still hold: those stored after
// the given instant and not dropped before asOf.
func (m *mistakes) alive(after, asOf time.Time) (n uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, it := range m.seen {
		if it.at.After(after) && (it.end.IsZero() || it.end.After(asOf)) {
			n++
		}
	}
	return n
}

// forget drops the sequences: they belong to a stream that is no more. Their
// kinds stay logged.
func (m *mistakes) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.seen)
	m.full = false
}

// undecodable takes note of an event this version cannot read. It is never
// skipped silently: it may cover tokens. Without a message ID it is no event of
// any publisher: a server stores what it answers to a reply subject that the
// stream covers, and nobody must be able to make the fleet unready by that.
// keeps is the message's own header: its publisher's Until, in a form that any version reads. Safe for concurrent use.
func (s *Subscriber) undecodable(seq uint64, at time.Time, named bool, keeps time.Duration, err error) {
	if !named {
		s.update(func(st *Status) { st.Foreign++ })
		return
	}
	it := mistake{at: at}
	if keeps > 0 {
		it.end = at.Add(keeps)
	}
	if s.mistakes.note(seq, it, err.Error()) {
		s.log.Error("undecodable event in the revocation stream: a newer publisher, or not ours; its tokens are not covered here", "sequence", seq, "err", err)
	}
}
