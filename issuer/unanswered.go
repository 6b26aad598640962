package issuer

import (
	"sync"
	"time"
)

// unanswered remembers rotations whose outcome this replica could not tell its client: the write may have been stored and
// its acknowledgement lost. The client was told 503 and keeps its token; when it comes back with it, that is no theft.
type unanswered struct {
	mu  sync.Mutex // guards what follows
	set map[string]time.Time
}

const (
	unansweredLife = 10 * time.Minute
	unansweredMost = 100_000
)

// lastStep names the session's last rotation or renewal.
func (s *session) lastStep() string { return s.sid + s.Next + string(s.Current) }

func (u *unanswered) add(s *session, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.set) >= unansweredMost {
		for k, until := range u.set {
			if now.After(until) {
				delete(u.set, k)
			}
		}
	}
	if u.set == nil {
		u.set = map[string]time.Time{}
	}
	if len(u.set) < unansweredMost {
		u.set[s.lastStep()] = now.Add(unansweredLife)
	}
}

func (u *unanswered) has(s *session, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	until, ok := u.set[s.lastStep()]
	return ok && now.Before(until)
}
