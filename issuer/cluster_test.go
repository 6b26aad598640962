package issuer_test

import (
	"errors"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/issuer"
)

// TestCluster: two replicas on three NATS servers; the server that leads the sessions stops and comes back.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, 3)
	r := start(t, c.URL(), func(cfg *issuer.Config) { cfg.Replicas, cfg.Timeout = 3, 10*time.Second })
	other := startWith(t, c.URL(), r.cfg)
	u := r.user("ann")
	old := r.patientLogin("ann")
	for range 20 { // each step on the other replica than the one before: nobody may read yesterday's record
		var err error
		until(t, "there is a leader", func() bool { // servers on a busy machine may elect another one at any time
			_, err = r.Revoke(t.Context(), events.Revocation{Scope: events.Subject, Key: u.Sub})
			return !errors.Is(err, issuer.ErrUnavailable)
		})
		if err != nil {
			t.Fatal(err)
		}
		other.want("old refresh", patient(t, func() answer { return other.refresh(old.Refresh) }), 400, "invalid_grant")
		fresh := other.patientLogin("ann")
		if old = patient(t, func() answer { return r.refresh(fresh.Refresh) }); old.status != 200 {
			t.Fatalf("refresh on the other replica: got %d %s", old.status, old.raw)
		}
		r.alive("the new token", old.Access)
		other.alive("the new token", old.Access)
	}
	leader := c.Leader("KV_QUASH_ISSUER")
	leader.Stop()
	until(t, "refresh without the old leader", func() bool {
		a := r.refresh(old.Refresh)
		if a.status == 200 {
			old = a
		}
		return a.status == 200
	})
	leader.Restart(t)
	c.WaitReady(t)
	until(t, "both ready", func() bool { return r.Ready() == nil && other.Ready() == nil })
	if a := patient(t, func() answer { return other.refresh(old.Refresh) }); a.status != 200 {
		t.Errorf("refresh afterwards: got %d %s, want 200", a.status, a.raw)
	}
}
