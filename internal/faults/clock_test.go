package main

import (
	"testing"
	"time"
)

// TestClockMovesTheWallOnly: a jump of the wall clock does not show in the
// monotonic one.
func TestClockMovesTheWallOnly(t *testing.T) {
	t.Parallel()
	start := time.Now()
	for _, d := range []time.Duration{0, time.Hour, -time.Hour, 1500 * time.Millisecond, -1500 * time.Millisecond, 999_999_999} {
		moved := moveWall(start, d)
		if got := moved.Round(0).Sub(start.Round(0)); got != d {
			t.Errorf("wall clock moved by %v, want %v", got, d)
		}
		if got := moved.Sub(start); got != 0 {
			t.Errorf("monotonic clock moved by %v with a wall clock moved by %v", got, d)
		}
	}
	var c clock
	c.set(time.Hour, 0.5)
	a := c.now()
	<-time.After(20 * time.Millisecond)
	b := c.now()
	wall, mono := b.Round(0).Sub(a.Round(0)), b.Sub(a)
	if lead := wall - mono; lead < mono/4 || lead > mono {
		t.Errorf("a clock that drifts by half: wall %v, monotonic %v", wall, mono)
	}
}
