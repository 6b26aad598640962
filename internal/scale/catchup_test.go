package main

import (
	"testing"
	"time"
)

// TestCatchup: a short form of many that read much. Some wait for a slot, and nothing is lost.
func TestCatchup(t *testing.T) {
	t.Parallel()
	c := catchupConfig{Settled: 2, Joiners: 10, Stored: 3100, Children: 1, Before: 200 * time.Millisecond}
	r, err := c.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Lost != 0 || r.Unenforced != 0 || r.Joined.N != c.Joiners || r.First <= 0 || r.First > r.Joined.P50 || r.Quiet.N == 0 || r.During.N == 0 {
		t.Errorf("%+v", r)
	}
	if r.Readings < uint64(c.Joiners) || r.Waited > r.Readings { // one whose connection breaks reads again
		t.Errorf("%d readings of %d, of which %d waited for a slot", r.Readings, c.Joiners, r.Waited)
	}
}
