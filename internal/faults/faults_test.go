package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quash-auth/quash/internal/leaks"
)

// built is what worlds run, built once and without the race detector: it is timed.
var built = sync.OnceValues(func() (binaries, error) { return build(context.Background(), programsDir) })

var programsDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "quash-faults-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	programsDir = dir
	code := leaks.Run(m)
	_ = os.RemoveAll(dir) // of no consequence
	os.Exit(code)
}

func programs(t *testing.T) binaries {
	t.Helper()
	b, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func said(t *testing.T) func(string, ...any) {
	began := time.Now()
	return func(format string, args ...any) {
		t.Logf("%6.1fs %s", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
}

// TestProgramme is the short form of what `make faults` does: every promise is
// kept under each fault of it.
func TestProgramme(t *testing.T) {
	t.Parallel()
	var short []fault
	for _, f := range catalogue() {
		if f.short {
			short = append(short, f)
		}
	}
	r, err := programme(t.Context(), programs(t), short, false, said(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.err(); err != nil {
		t.Errorf("%v\n%s", err, r.table())
	}
	if r.rechecks == 0 {
		t.Error("nothing was revoked")
	}
}

// TestCheckerFindsEveryBug puts nodes with one mistake each beside nodes with none,
// and breaks the bus under all of them. Each mistake must be reported as the
// violation of the promise that it breaks, and nothing may be said of the others.
func TestCheckerFindsEveryBug(t *testing.T) {
	t.Parallel()
	want := map[bug]invariant{
		bugDrop: i1, bugFavour: i2, bugPretend: i2, bugBlind: i3, bugUnsynced: i3, bugNaive: i3, bugLogout: i4, bugGiveUp: i5, bugInvent: i6,
		bugGoroutine: i7, bugLeak: i7,
	}
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
	if err := w.build(ctx, 1, 0); err != nil {
		t.Fatal(err)
	}
	nodes := []nodeConfig{{Name: "good-deny"}, {Name: "good-allow", Allow: true}}
	for b := range want {
		nodes = append(nodes, nodeConfig{Name: string(b), Bug: b, Allow: b == bugUnsynced})
	}
	for _, c := range nodes {
		c.Bound = bound
		if err := w.addNode(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.begin(ctx, 2); err != nil {
		t.Fatal(err)
	}
	// Not heal: some of them never do.
	w.wellEnough(ctx, t)
	before := w.census(ctx)
	if err := w.made(ctx, want, bugFavour); err != nil { // it shows only while the bus is there
		t.Fatal(err)
	}
	found := w.judge.harvest().found
	w.hopeless = []string{string(bugGiveUp), string(bugGoroutine), "server"}
	hole := holeNode
	hole.felt = func(_ context.Context, _ *world, n *node) (string, error) { return swallowed(n.links) } // some of them say anything of themselves
	until := func(context.Context, *world) (grip, error) {                                               // publishers go on
		g := over("")
		g.felt = func(ctx context.Context) (string, error) {
			err := w.made(ctx, want, bugPretend, bugBlind, bugUnsynced, bugNaive, bugLogout)
			for _, n := range w.nodes {
				if n.Bug == bugGiveUp {
					err = errors.Join(err, eachLink(n.links, (*link).drop))
				}
			}
			return "mistakes were made", err
		}
		return g, nil
	}
	drift := onNodes("good-deny "+string(bugNaive), skew(0, -0.9))
	e := w.run(ctx, fault{begin: together(together(until, onNodes("", hole)), together(onNodes(string(bugUnsynced), restartNode), drift))})
	if err := errors.Join(e.err, e.unfelt); err != nil {
		t.Fatal(err)
	}
	w.grown(ctx, before)
	found = append(append(found, e.found...), w.judge.harvest().found...)
	for n := range found {
		if found[n].node == "server" { // which holds what a node has leaked, and does not know whose it is
			found[n].node = string(bugLeak)
		}
	}
	for b, i := range want {
		if !slices.ContainsFunc(found, func(v violation) bool { return v.node == string(b) && v.invariant == i }) {
			t.Errorf("the mistake %q was not found as a violation of %v", b, i)
		}
	}
	for _, v := range found {
		if v.node == "good-deny" || v.node == "good-allow" || want[bug(v.node)] == 0 {
			t.Errorf("%v is said to be violated at %s: %s", v.invariant, v.node, v.what)
		}
	}
	if t.Failed() || testing.Verbose() {
		said := map[string]int{}
		for _, v := range found {
			if key := fmt.Sprint(v.invariant, v.node); said[key] < 2 {
				said[key]++
				t.Log(v.invariant, v.node, v.what)
			}
		}
	}
}

// made waits until some mistakes have been made.
func (w *world) made(ctx context.Context, want map[bug]invariant, some ...bug) error {
	ctx, cancel := w.patient(ctx)
	defer cancel()
	return poll(ctx, 50*time.Millisecond, func() error {
		w.judge.mu.Lock()
		defer w.judge.mu.Unlock()
		for _, b := range some {
			if !slices.ContainsFunc(w.judge.found, func(v violation) bool { return v.node == string(b) && v.invariant == want[b] }) {
				return fmt.Errorf("the mistake %q was not found yet as a violation of %v", b, want[b])
			}
		}
		return nil
	})
}

func (w *world) wellEnough(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, n := range w.nodes {
		ctx, cancel := w.patient(ctx)
		err := poll(ctx, 50*time.Millisecond, func() error { return n.well(ctx, n.began) })
		cancel()
		if err != nil {
			t.Fatal(err)
		}
	}
}
