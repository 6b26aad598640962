package issuer

import (
	"sync/atomic"
	"time"

	"github.com/quash-auth/quash/cache"
)

// recent are sessions as this replica last wrote them, which spares reading them when they are refreshed. One may be outdated, by
// another replica or by an end: what is done with it counts only if the compare-and-set of its revision succeeds. The zero
// value remembers nothing.
type recent struct {
	memo atomic.Pointer[cache.Memo[session]]
}

const (
	recentBytes = 16 << 20 // some 15,000 sessions
	recentCost  = 900
)

func (r *recent) keep(s *session) { r.memo.Load().Put(s.sid, *s, recentCost) }

// recall is the session if it lives and this is its current secret, as far as we know; else nil. The caller may change it.
func (r *recent) recall(sid string, secret []byte, now time.Time) *session {
	s, ok := r.memo.Load().Get(sid)
	if !ok || s.State != live || s.Next != "" || s.expired(now) || !same(s.Current, secret) {
		return nil
	}
	return &s
}
