package main

import (
	"testing"
	"time"
)

// TestMissing: a statement that is still on its way to a node that nobody waited for is not missing there, and one
// that never comes is.
func TestMissing(t *testing.T) {
	t.Parallel()
	f, err := startFleet(t.Context(), fleetConfig{Topology: topoOne, Kind: kindFeed})
	defer func() {
		if err := f.close(); err != nil {
			t.Error(err)
		}
	}()
	if err != nil {
		t.Fatal(err)
	}
	c := newCrowd()
	defer c.close()
	if _, err := c.add(nodesConfig{URL: f.urls[0], Kind: kindFeed, Prefix: "late", Count: 2}); err != nil {
		t.Fatal(err)
	}
	if n, err := c.missing(phase{Phase: "late", Messages: 1}); n != 2 || err != nil {
		t.Fatalf("a statement that nobody made is missing at %d of 2 nodes: %v", n, err)
	}
	published := make(chan error, 1)
	time.AfterFunc(100*time.Millisecond, func() { // missing has looked by then, or would find it at once
		_, err := f.pub.Publish(t.Context(), revocation("late", 0))
		published <- err
	})
	n, err := c.missing(phase{Phase: "late", Messages: 1, Patience: patience})
	if n != 0 || err != nil {
		t.Errorf("a statement that came is missing at %d of 2 nodes: %v", n, err)
	}
	if err := <-published; err != nil {
		t.Fatal(err)
	}
}
