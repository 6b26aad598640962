package cache

import (
	"math"
	"time"
)

// clock is the wall clock at the start plus the time that has passed since, so that a
// wall clock set forward (and corrected later) does not make entries leave too early.
// Times without a monotonic reading, as tests inject them, pass through unchanged.
type clock struct {
	read  func() time.Time
	first time.Time
	asOf  func() time.Time // nil: unknown source, now alone decides
}

func newClock(now, asOf func() time.Time) clock {
	if now == nil {
		now = time.Now
	}
	return clock{read: now, first: now(), asOf: asOf}
}

func (c *clock) now() time.Time {
	return c.first.Round(0).Add(c.read().Sub(c.first))
}

// horizon is the second up to which time has certainly passed, by the node's clock and
// by the newest server time known. While the latter is unknown nothing leaves.
func (c *clock) horizon() int64 {
	now := c.now().Unix()
	if c.asOf == nil {
		return now
	}
	as := c.asOf()
	if as.IsZero() {
		return math.MinInt64
	}
	return min(now, as.Unix())
}
