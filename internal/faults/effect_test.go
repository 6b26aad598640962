package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// TestWhatDoesNothingIsNotFelt: a fault that hits nobody is reported as one that was not felt, whatever it is.
func TestWhatDoesNothingIsNotFelt(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, err := newWorld(programs(t), said(t))
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
	if err := w.addNode(nodeConfig{Name: "deny-1", Bound: bound}); err != nil {
		t.Fatal(err)
	}
	if err := w.begin(ctx, 1); err != nil {
		t.Fatal(err)
	}
	w.wellEnough(ctx, t)
	nobody := func(felt func(context.Context) (string, error)) begin {
		return func(context.Context, *world) (grip, error) {
			g := over("")
			g.felt = felt
			return g, nil
		}
	}
	for name, f := range map[string]begin{
		"server killed":   onServers(leading, idle(killServer)),
		"server frozen":   onServers(leading, idle(freezeServer)),
		"server cut off":  onServers(leading, idle(cutOff)),
		"server cut out":  onServers(leading, idle(cutOut)),
		"disk slow":       onServers(leading, idle(slowed(writing, time.Second))),
		"disk full":       nobody(w.servers[0].unwell),
		"links slow":      nobody(func(context.Context) (string, error) { return w.ledger.atLeast(time.Time{}, time.Hour, slowest) }),
		"node killed":     onNodes("", idle(killNode)),
		"node frozen":     onNodes("", idle(freezeNode)),
		"node in a hole":  onNodes("", idle(holeNode)),
		"node cut off":    onNodes("", idle(cutNode)),
		"clock ahead":     onNodes("", idle(skew(time.Hour, 0))),
		"clock drifting":  onNodes("", idle(skew(0, -0.02))),
		"issuer killed":   onIssuers(1, idle(killIssuer)),
		"issuer frozen":   onIssuers(1, idle(freezeIssuer)),
		"stream full":     limited(streamBytes),
		"hostile events":  nobody(func(ctx context.Context) (string, error) { return w.puzzled(ctx, 0, 100*time.Millisecond) }),
		"users taken":     nobody(func(ctx context.Context) (string, error) { return w.shutOut(ctx, "", "publisher-0") }),
		"issuer shut out": nobody(func(ctx context.Context) (string, error) { return w.shutOut(ctx, "", "issuer-1") }),
	} {
		if err := poll(ctx, 10*time.Millisecond, func() error { // for one that wants to see how long they take
			if len(w.ledger.since(0)) < 5 {
				return errors.New("hardly anything was acknowledged")
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		g, err := f(ctx, w)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		pctx, cancel := w.patient(ctx)
		if err := poll(pctx, 10*time.Millisecond, func() error { // a process that stands still for a moment by itself is felt, too
			if text, err := g.felt(ctx); err == nil {
				return fmt.Errorf("%q was felt of nothing", text)
			}
			return nil
		}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
	if err := w.nodes[0].start(); err != nil || !w.nodes[0].alive() {
		t.Errorf("the node is gone: %v", err)
	}
}

// idle is a deed that is not done.
func idle[T any](d deed[T]) deed[T] {
	d.do = func(context.Context, *world, T) error { return nil }
	return d
}

// TestWhoCannotStartIsSaidAtOnce: a node whose address somebody else has is reported with what it said, not as one that
// does not heal.
func TestWhoCannotStartIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	n := &node{nodeConfig: nodeConfig{Name: "deny-1"}, client: &http.Client{}, process: &process{name: "deny-1", args: []string{os.Args[0], "-test.unknown-flag"}}}
	if err := n.start(); err != nil {
		t.Fatal(err)
	}
	err := poll(t.Context(), time.Millisecond, func() error { return n.well(t.Context(), time.Time{}) })
	if !errors.Is(err, errEnded) || !strings.Contains(err.Error(), "unknown-flag") {
		t.Errorf("got %v", err)
	}
}

// TestFeltInTheEnd: who stands still by himself feels a fault later, and that counts; it goes on until then.
func TestFeltInTheEnd(t *testing.T) {
	t.Parallel()
	w, err := newWorld(programs(t), said(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}()
	asked := 0
	text, err := w.feel(t.Context(), grip{felt: func(context.Context) (string, error) {
		if asked++; asked < 3 {
			return "", errors.New("nothing was felt yet")
		}
		return "felt", nil
	}})
	if text != "felt" || err != nil {
		t.Errorf("got %q, %v after %d questions", text, err, asked)
	}
}
