package main

import (
	"context"
	"errors"
	"strings"
	"time"
)

// onNodes does something to the nodes whose names begin with one of the prefixes,
// and undoes it at the end.
func onNodes(prefixes string, do, undo func(context.Context, *node) error) func(context.Context, *world) (end, error) {
	return func(ctx context.Context, w *world) (end, error) {
		var chosen []*node
		for _, n := range w.nodes {
			for p := range strings.SplitSeq(prefixes, " ") {
				if strings.HasPrefix(n.Name, p) {
					chosen = append(chosen, n)
				}
			}
		}
		back := func(ctx context.Context) error {
			var errs []error
			for _, n := range chosen {
				errs = append(errs, undo(ctx, n))
			}
			return errors.Join(errs...)
		}
		for _, n := range chosen {
			if err := do(ctx, n); err != nil {
				return nil, errors.Join(err, back(ctx))
			}
		}
		return back, nil
	}
}

func killNode(_ context.Context, n *node) error  { n.kill(); return nil }
func startNode(_ context.Context, n *node) error { return n.start() }
func restartNode(_ context.Context, n *node) error {
	n.kill()
	return n.start()
}

func freezeNode(_ context.Context, n *node) error { return n.freeze() }
func thawNode(_ context.Context, n *node) error   { return n.thaw() }

func holeNode(_ context.Context, n *node) error { return eachLink(n.links, (*link).swallow) }
func cutNode(_ context.Context, n *node) error  { return eachLink(n.links, (*link).sever) }
func mendNode(_ context.Context, n *node) error { return eachLink(n.links, (*link).mend) }

func eachLink(links []*link, do func(*link)) error {
	for _, k := range links {
		do(k)
	}
	return nil
}

// killAgain kills nodes and starts them at once, a few times.
func killAgain(ctx context.Context, n *node) error {
	for range 3 {
		n.kill()
		if err := n.start(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(1500 * time.Millisecond):
		}
	}
	return nil
}

// skew moves a node's clock. It is right again at the end, and until then and until it
// has healed young tokens may look wrong to it.
func skew(off time.Duration, rate float64) func(context.Context, *node) error {
	return func(ctx context.Context, n *node) error {
		n.skewed.Store(true)
		return n.setClock(ctx, off, rate)
	}
}

func rightClock(ctx context.Context, n *node) error { return n.setClock(ctx, 0, 0) }

func already(context.Context, *node) error { return nil }

var nodeFaults = []fault{
	{name: "nodes killed and started again", short: true, hold: 2 * time.Second, begin: onNodes("deny-1 deny-2 allow-1 allow-2", killNode, startNode)},
	{name: "nodes killed three times", hold: 0, begin: onNodes("deny-2 allow-1", killAgain, already)},
	{name: "nodes frozen", hold: 8 * time.Second, begin: onNodes("deny-1 deny-4 allow-1", freezeNode, thawNode)},
	{name: "nodes in a black hole", short: true, hold: 7 * time.Second, begin: onNodes("deny-1 deny-2 allow-1 allow-4", holeNode, mendNode)},
	{name: "nodes in a black hole for 25 s", hold: 25 * time.Second, begin: onNodes("deny-3 allow-2", holeNode, mendNode)},
	{name: "a node cut off from all servers", hold: 8 * time.Second, begin: onNodes("deny-2 allow-2", cutNode, mendNode)},
	{name: "clocks an hour ahead", hold: 6 * time.Second, begin: onNodes("deny-1 allow-1", skew(time.Hour, 0), rightClock)},
	{name: "clocks an hour behind", hold: 6 * time.Second, begin: onNodes("deny-2 allow-2", skew(-time.Hour, 0), rightClock)},
	{name: "clocks that drift, one tenth fast and slow", hold: 12 * time.Second, begin: both(onNodes("deny-3", skew(0, 0.1), rightClock), onNodes("allow-3", skew(0, -0.1), rightClock))},
}

func both(a, b func(context.Context, *world) (end, error)) func(context.Context, *world) (end, error) {
	return pair(fault{begin: a}, fault{begin: b}).begin
}
