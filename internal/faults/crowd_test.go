package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestCrowd is the short form of the fault with a hundred nodes: nothing stays behind, and a node that leaves a goroutine
// behind with each reconnect is found.
func TestCrowd(t *testing.T) {
	t.Parallel()
	for _, leaky := range []bool{false, true} {
		w, err := newWorld(programs(t), said(t))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := w.close(); err != nil {
				t.Error(err)
			}
		}()
		if err := w.build(t.Context(), 1, 0); err != nil {
			t.Fatal(err)
		}
		if leaky {
			w.patience = 5 * time.Second
		}
		if err := w.churn(t.Context(), crowdConfig{Members: 12, Leaky: leaky}, 5); err != nil {
			t.Fatal(err)
		}
		found := w.judge.harvest().found
		switch {
		case !leaky && len(found) > 0:
			t.Errorf("found %v at %s: %s", found[0].invariant, found[0].node, found[0].what)
		case leaky && !slices.ContainsFunc(found, func(v violation) bool { return v.invariant == i7 && strings.Contains(v.what, "goroutines") }):
			t.Errorf("a leak was not found: %v", found)
		}
	}
}
