package events_test

import (
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
)

// TestWhoStoodStillBlamesNoLink: a process that was stopped, or at one Apply for long, has not heard what came meanwhile.
func TestWhoStoodStillBlamesNoLink(t *testing.T) {
	t.Parallel()
	const interval = time.Second
	now := time.Unix(1_800_000_000, 0)
	w := events.NewWatchdog(interval, now)
	for range 8 {
		now = now.Add(interval / 4)
		if w.Deaf(now) {
			t.Fatal("the link is deaf after two intervals")
		}
	}
	now = now.Add(time.Minute)
	if w.Deaf(now) {
		t.Error("the link is deaf because nobody listened")
	}
	waited := time.Duration(0)
	for !w.Deaf(now) {
		if waited += interval / 4; waited > 4*interval {
			t.Fatal("a deaf link is not noticed any more")
		}
		now = now.Add(interval / 4)
	}
	if waited < 2*interval {
		t.Errorf("deaf after %v more, although four intervals are waited for", waited)
	}
}
