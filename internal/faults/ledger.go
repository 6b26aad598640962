package main

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/quash-auth/quash/events"
)

// ledger holds every token that is shown to the nodes, and what the stream has
// acknowledged about each.
type ledger struct {
	mu    sync.Mutex // guards what follows
	pool  []*token   // living, nothing was ever said about them
	young []*token   // the same, of the issuers: few, and not for publishers
	bad   []*token   // expired and forged
	acked []*token   // in the order of their acknowledgements
	tried int        // revocations attempted
	lost  int        // that got no acknowledgement
	full  int        // of these, because the stream was full
}

// scopes are those of most statements; of the wider ones there are a few.
var scopes = [...]events.Scope{events.Token, events.Session, events.Subject, events.Client}

// fill makes the first tokens.
func (l *ledger) fill(m *minter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range 60 {
		l.pool = append(l.pool, m.mint(living, scopes[i%len(scopes)]))
	}
	// At most one of the aging issuer at a time: what revokes one covers all that are older.
	l.pool = append(l.pool, m.mint(living, events.Issuer), m.mint(living, events.Key), m.mint(living, events.Key))
	for i := range 16 {
		l.bad = append(l.bad, m.mint(kind(1+i/8), events.Token))
	}
}

// victim takes a token that nodes have seen as good, puts a new one in its place
// and notes that its revocation begins.
func (l *ledger) victim(m *minter) *token {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := rand.IntN(len(l.pool) / 2) // the older half
	t := l.pool[i]
	next := scopes[rand.IntN(len(scopes))]
	if wide := t.about.Scope; wide == events.Issuer || wide == events.Key && m.keys.Load() < manyKeys {
		next = wide
	}
	l.pool = append(slices.Delete(l.pool, i, i+1), m.mint(living, next))
	l.tried++
	t.asked.Store(time.Now().UnixNano())
	return t
}

// ack notes that the stream has confirmed it.
func (l *ledger) ack(t *token) {
	t.acked.Store(time.Now().UnixNano())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked = append(l.acked, t)
}

// pick chooses a token to show; nil: there is none of that sort yet.
func (l *ledger) pick(s sort) *token {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := l.pool
	switch s {
	case showRevoked:
		from = l.acked
	case showLatest:
		from = l.acked[max(0, len(l.acked)-3):]
	case showBad:
		from = l.bad
	case showYoung:
		from = l.young
	}
	if len(from) == 0 {
		return nil
	}
	return from[rand.IntN(len(from))]
}

// since returns what was acknowledged after the first n.
func (l *ledger) since(n int) []*token {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.acked[min(n, len(l.acked)):])
}

func (l *ledger) count() (acked, tried, lost int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked), l.tried, l.lost
}

// addYoung shows a token of an issuer; it returns how to stop.
func (l *ledger) addYoung(t *token) (remove func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.young = append(l.young, t)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if i := slices.Index(l.young, t); i >= 0 {
			l.young = slices.Delete(l.young, i, i+1)
		}
	}
}
