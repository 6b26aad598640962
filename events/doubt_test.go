package events_test

import (
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// TestTrustOfAnEarlierRun: what it has read counts for nothing once another Run has begun, even if somebody trusts it just then.
func TestTrustOfAnEarlierRun(t *testing.T) {
	t.Parallel()
	s, err := events.NewSubscriber(events.SubscriberConfig{Conn: natstest.Start(t).Connect(t), Careful: true, Silent: true})
	if err != nil {
		t.Fatal(err)
	}
	events.Forget(s)
	number, _ := s.Doubts()
	events.Prove(s, time.Now())
	if s.Freshness(time.Now()).Synced {
		t.Fatal("synced before anybody trusts it")
	}
	events.Forget(s)
	if s.Trust(number) || s.Freshness(time.Now()).Synced {
		t.Error("another Run has begun, and what the one before has read counts")
	}
}
