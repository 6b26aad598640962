package main

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestHasteIsFound: the stream is made anew and nodes start while the issuer that could give back what was lost stands still. A node
// that waits for it keeps every promise, and one that does not is found to accept what it must not.
func TestHasteIsFound(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, err := newWorld(programs(t), func(string, ...any) {})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := w.build(ctx, 1, 1); err != nil {
		t.Fatal(err)
	}
	for _, c := range []nodeConfig{{Name: "good-deny"}, {Name: "good-allow", Allow: true}, {Name: string(bugHaste), Bug: bugHaste}} {
		c.Bound, c.Patient = bound, c.Bug == "" // also while the one who stood still connects again
		if err := w.addNode(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.begin(ctx, 1); err != nil {
		t.Fatal(err)
	}
	w.wellEnough(ctx, t)
	if err := poll(ctx, 20*time.Millisecond, func() error {
		if acked, _, _ := w.ledger.count(); acked < 30 {
			return errors.New("hardly anything was revoked")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	e := w.run(ctx, fault{hold: 5 * time.Second, begin: func(ctx context.Context, w *world) (grip, error) {
		if err := w.issuers[0].freeze(); err != nil {
			return grip{}, err
		}
		if _, err := w.remove(ctx); err != nil {
			return grip{}, err
		}
		if err := w.ensure(ctx); err != nil {
			return grip{}, err
		}
		for _, n := range w.nodes {
			if err := restartNode.do(ctx, w, n); err != nil {
				return grip{}, err
			}
		}
		g := over("")
		g.felt = func(ctx context.Context) (string, error) { // however long it takes to start
			return "stream made anew, everybody started while the issuer stands still", w.made(ctx, map[bug]invariant{bugHaste: i2}, bugHaste)
		}
		g.end = func(context.Context) error { return w.issuers[0].thaw() }
		return g, nil
	}})
	if err := errors.Join(e.err, e.unfelt); err != nil {
		t.Fatal(err)
	}
	for _, v := range e.found {
		if v.node != string(bugHaste) {
			t.Errorf("%v is said to be violated at %s: %s", v.invariant, v.node, v.what)
		}
	}
}
