package events

import "sync"

// mistakes remembers undecodable events, so that reading one again is not
// counted again and each kind is logged once. Bounded; safe for concurrent use.
type mistakes struct {
	mu    sync.Mutex
	seen  map[uint64]struct{}
	kinds map[string]struct{}
}

const maxMistakes = 4096

// note reports whether the event is new and whether its kind is.
func (m *mistakes) note(seq uint64, kind string) (newEvent, newKind bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen == nil {
		m.seen, m.kinds = make(map[uint64]struct{}), make(map[string]struct{})
	}
	if _, ok := m.seen[seq]; ok {
		return false, false
	}
	if len(m.seen) < maxMistakes {
		m.seen[seq] = struct{}{}
	}
	if _, ok := m.kinds[kind]; !ok && len(m.kinds) < 64 {
		m.kinds[kind] = struct{}{}
		newKind = true
	}
	return true, newKind
}

// undecodable takes note of an event this version cannot read. It is never
// skipped silently: it may cover tokens. Safe for concurrent use.
func (f *follower) undecodable(seq uint64, err error) {
	event, kind := f.mistakes.note(seq, err.Error())
	if event {
		f.update(func(st *Status) { st.Undecodable++ })
	}
	if kind {
		f.log.Error("undecodable event in the revocation stream: a newer publisher, or not ours; its tokens are not covered here", "sequence", seq, "err", err)
	}
}
