package main

import (
	"sync"
	"time"
	"unsafe"
)

// clock is the machine's clock with its wall reading moved, as an operator or a
// broken time server moves it: the monotonic reading goes on undisturbed.
type clock struct {
	mu    sync.Mutex // guards what follows
	off   time.Duration
	rate  float64 // seconds of drift per second
	since time.Time
}

func (c *clock) now() time.Time {
	t := time.Now()
	c.mu.Lock()
	off := c.off + time.Duration(float64(t.Sub(c.since))*c.rate)
	if c.since.IsZero() {
		off = 0
	}
	c.mu.Unlock()
	return moveWall(t, off)
}

// set steps the clock to an offset from the truth and lets it drift from there.
func (c *clock) set(off time.Duration, rate float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off, c.rate, c.since = off, rate, time.Now()
}

// moveWall moves the wall reading of a time that also has a monotonic one.
// time.Time.Add would move both. Its first word holds nanoseconds in 30 bits and
// above them seconds in 33 (package time, "type Time").
func moveWall(t time.Time, d time.Duration) time.Time {
	const second = int64(time.Second)
	word := (*uint64)(unsafe.Pointer(&t))
	total := int64(*word>>30&(1<<33-1))*second + int64(*word&(1<<30-1)) + int64(d)
	*word = 1<<63 | uint64(total/second)<<30 | uint64(total%second)
	return t
}
