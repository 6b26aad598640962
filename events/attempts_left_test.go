package events_test

import (
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
)

// TestFailedAttemptsKeepNobodyBack: a broken connection fails all attempts under way at once. The next one goes out nevertheless, and at once.
func TestFailedAttemptsKeepNobodyBack(t *testing.T) {
	t.Parallel()
	nc, _, p := newStream(t, events.Layout{}, nil)
	ack, err := events.TryAfter(t.Context(), p, nats.NewMsg(events.SubjectBeacon), nats.ErrDisconnected, nats.ErrDisconnected, nats.ErrDisconnected)
	if err != nil || ack == 0 {
		t.Errorf("got sequence %d, %v", ack, err)
	}
	if err := nc.LastError(); err != nil {
		t.Error(err)
	}
}
