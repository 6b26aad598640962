package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
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
			w.hopeless = []string{"crowd", "server"}
		}
		if _, err := w.churn(t.Context(), crowdConfig{Members: 12, Leaky: leaky}, 5); err != nil {
			t.Fatal(err)
		}
		found := w.judge.harvest().found
		switch {
		case !leaky && len(found) > 0:
			t.Errorf("found %v at %s: %s", found[0].invariant, found[0].node, found[0].what)
		case leaky:
			for who, what := range map[string]string{"crowd": "goroutines", "server": "subscriptions of faults-crowd"} {
				if !slices.ContainsFunc(found, func(v violation) bool { return v.invariant == i7 && v.node == who && strings.Contains(v.what, what) }) {
					t.Errorf("no leak of %s was found at %s: %v", what, who, found)
				}
			}
		}
	}
}

// TestServersHoldTheLivingOnly: what is left of somebody who has gone, and somebody who is missing, is found.
func TestServersHoldTheLivingOnly(t *testing.T) {
	t.Parallel()
	before := holding{connections: map[string]int{"a": 1, "b": 2}, subscriptions: map[string]int{"a": 3, "b": 4}, goroutines: 100, files: 100, memory: 100 << 20}
	changed := func(change func(*holding)) error {
		h := before
		h.connections, h.subscriptions = maps.Clone(before.connections), maps.Clone(before.subscriptions)
		change(&h)
		return h.more(before)
	}
	if err := changed(func(*holding) {}); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*holding){
		"a connection too many": func(h *holding) { h.connections["a"]++ },
		"one of somebody else":  func(h *holding) { h.connections["c"]++ },
		"one too few":           func(h *holding) { delete(h.connections, "a") },
		"a subscription":        func(h *holding) { h.subscriptions["b"]++ },
		"goroutines":            func(h *holding) { h.goroutines = 300 },
		"files":                 func(h *holding) { h.files = 300 },
		"memory":                func(h *holding) { h.memory = 300 << 20 },
	} {
		if changed(change) == nil {
			t.Errorf("%s: nothing was found", name)
		}
	}
}
