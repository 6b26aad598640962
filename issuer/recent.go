package issuer

import (
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/cache"
)

// recent are sessions as this replica last wrote them, which spares reading them when they are refreshed. One may be outdated, by
// another replica or by an end: what is done with it counts only if the compare-and-set of its revision succeeds. Revisions
// begin again in a bucket that was restored or made anew, so nothing is remembered across connections, nor for longer than the
// denylist holds a statement about it. The zero value remembers nothing.
type recent struct {
	memo atomic.Pointer[cache.Memo[remembered]]
	era  func() uint64 // how often we have connected
}

type remembered struct {
	session
	era   uint64
	until time.Time
}

const (
	recentBytes = 16 << 20 // some 15,000 sessions
	recentCost  = 900
)

// start begins to remember; close ends it.
func (r *recent) start(nc *nats.Conn) (close func(), err error) {
	memo, err := cache.NewMemo[remembered](cache.MemoConfig{MaxBytes: recentBytes})
	if err != nil {
		return nil, err
	}
	r.era = func() uint64 { return nc.Stats().Reconnects }
	r.memo.Store(memo)
	return memo.Close, nil
}

// keep a session that was just written, in the era that was current before, until then.
func (r *recent) keep(s *session, era uint64, until time.Time) {
	r.memo.Load().Put(s.sid, remembered{*s, era, until}, recentCost)
}

// now is the current era.
func (r *recent) now() uint64 {
	if r.memo.Load() == nil {
		return 0
	}
	return r.era()
}

// recall is the session if it lives and this is its current secret, as far as we know; else nil. The caller may change it.
func (r *recent) recall(sid string, secret []byte, now time.Time) *session {
	s, ok := r.memo.Load().Get(sid)
	if !ok || s.era != r.era() || !now.Before(s.until) || s.State != live || s.Next != "" || s.expired(now) || !same(s.Current, secret) {
		return nil
	}
	return &s.session
}
