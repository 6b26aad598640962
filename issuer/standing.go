package issuer

import (
	"maps"
	"sync"
	"time"

	"github.com/quash-auth/quash/cache"
	"github.com/quash-auth/quash/events"
)

// standing knows until when the stream holds a statement about a whole key. The denylist cannot say: it joins what different statements
// say, and believes an Until that the stream does not wait for. Who starts now knows only what the stream holds.
type standing struct {
	mu      sync.Mutex
	until   map[string]time.Time // by kid
	rewinds uint64
	ahead   time.Duration // our clock, of the server's; tests move ours
}

// delivered takes what came of the stream. Only what the server was told to keep counts, and not longer than its publisher, who may
// be anybody, told it: who could end renewals by what he says would have the key back.
func (s *standing) delivered(e events.Event, most time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Rewinds > s.rewinds {
		s.until, s.rewinds = nil, e.Rewinds // another stream, or an older one
	}
	if e.Rewinds == s.rewinds && e.Kept > 0 {
		s.raise(e.Revocation, e.Time.Add(s.ahead+min(e.Kept, most)))
	}
}

// published takes what the stream has acknowledged to us.
func (s *standing) published(r events.Revocation, most time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raise(r, most)
}

// raise needs the lock.
func (s *standing) raise(r events.Revocation, end time.Time) {
	if r.Until.Before(end) {
		end = r.Until
	}
	if s.until == nil {
		s.until = map[string]time.Time{}
	}
	if end.After(s.until[r.Key]) {
		s.until[r.Key] = end
	}
}

// lasts reports whether a key's statement stands until then.
func (s *standing) lasts(kid string, until time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.until[kid].Before(until)
}

// forget what has ended.
func (s *standing) forget(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.until, func(_ string, end time.Time) bool { return end.Before(now) })
}

// stands notes a statement that is in force, if it is about a whole key of this issuer: one that the denylist has refused is in force nowhere.
func (i *Issuer) stands(e events.Event) {
	if i.wholeKey(e.Revocation) {
		i.renewals.standing.delivered(e, i.retention.Total())
	}
}

func (i *Issuer) wholeKey(r events.Revocation) bool {
	return r.Scope == events.Key && r.Issuer == i.cfg.Issuer && statement(r, 0).Before == cache.Always && i.deny.Holds(statement(r, 0))
}
