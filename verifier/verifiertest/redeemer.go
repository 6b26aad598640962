package verifiertest

import (
	"context"
	"sync"
	"time"

	"github.com/quash-auth/quash/events"
)

// redeemer is a verifier.Redeemer in memory.
type redeemer struct {
	mu   sync.Mutex // guards what follows
	used map[[2]string]bool
}

func (r *redeemer) Redeem(_ context.Context, iss, jti string, _, _ time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := [2]string{iss, jti}
	if r.used[name] {
		return events.ErrRedeemed
	}
	r.used[name] = true
	return nil
}
