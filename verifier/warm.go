package verifier

import (
	"sync/atomic"
	"time"

	"github.com/quash-auth/quash/events"
)

// warm is a feed that until its first sync may stand on what a snapshot proves.
type warm struct {
	Feed
	bound time.Duration // beyond it a snapshot proves nothing, whatever the policy: it is no sync
	from  atomic.Pointer[snapshotProof]
}

// snapshotProof is immutable.
type snapshotProof struct {
	asOf      time.Time
	loaded    time.Time // wall and monotonic
	age       time.Duration
	retention events.Retention
}

// Freshness is the feed's own once it is synced.
func (w *warm) Freshness(now time.Time) events.Freshness {
	f := w.Feed.Freshness(now)
	p := w.from.Load()
	if f.Synced || p == nil {
		return f
	}
	// The larger of what the two clocks say, as in events: neither may make the view look fresher.
	age := p.age + max(now.Sub(p.loaded), now.Round(0).Sub(p.loaded.Round(0)), 0)
	if age > w.bound {
		return f
	}
	return events.Freshness{Synced: true, AsOf: p.asOf, Staleness: age}
}

// Status takes the stream's promise from the snapshot while nobody else can tell it.
func (w *warm) Status() events.Status {
	s := w.Feed.Status()
	if p := w.from.Load(); p != nil && !s.Synced && s.Layout.Retention == (events.Retention{}) {
		s.Layout.Retention = p.retention
	}
	return s
}
