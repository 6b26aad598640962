package events_test

import (
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
)

// TestBeacons_manyAreOne: whatever makes a whole fleet send at once makes it send the
// same, and the server keeps one. Each one kept is delivered to all.
func TestBeacons_manyAreOne(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	a, b := events.NewBeacons(time.Second, now), events.NewBeacons(time.Second, now)
	stored := now.Add(-time.Hour) // the server's clock
	if x, y := a.Next(now, stored), b.Next(now, stored.Add(time.Second)); x != y {
		t.Errorf("in one interval %q and %q", x, y)
	}
	// Nothing came back: the broker was away, or is busy with a burst, of which each node has taken as much as it could.
	now = now.Add(2 * time.Second)
	again := a.Next(now, stored)
	if other := b.Next(now, stored.Add(900*time.Millisecond)); again != other {
		t.Errorf("within a burst %q and %q", again, other)
	}
	// A clock that was set back comes to the same interval once more, and has seen more.
	if later := a.Next(now, stored.Add(time.Second)); later == again {
		t.Errorf("%q twice: the server would drop the second", later)
	}
	a.Seen(now)
	b.Seen(now)
	if x, y := a.Next(now, stored), b.Next(now, stored); x != y || x == again {
		t.Errorf("answered: %q and %q, before %q", x, y, again)
	}
	// Only who wants to know about its own clock needs one of its own.
	a.Ask(now)
	b.Ask(now)
	if x, y := a.Next(now, stored), b.Next(now, stored); x == y {
		t.Errorf("both asked with %q", x)
	}
	if x, y := a.Next(now, stored), b.Next(now, stored); x != y {
		t.Errorf("and go on with %q and %q", x, y)
	}
}

// TestBeacons_statementsCount: who receives statements needs no beacon.
func TestBeacons_statementsCount(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	b := events.NewBeacons(time.Second, now)
	if w := b.Wait(now); w > time.Second/50 {
		t.Errorf("the first one is due in %v", w)
	}
	for range 100 {
		now = now.Add(900 * time.Millisecond)
		b.Heard(now)
		if w := b.Wait(now); w < time.Second {
			t.Fatalf("due in %v although something has just come", w)
		}
	}
	b.Ask(now)
	b.Heard(now)
	if w := b.Wait(now); w >= time.Second {
		t.Errorf("due in %v although it was asked for", w)
	}
}
