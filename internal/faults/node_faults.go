package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// onNodes does something to the nodes whose names begin with one of the prefixes.
func onNodes(prefixes string, d deed[*node]) begin {
	return on(func(_ context.Context, w *world) (chosen []*node, _ error) {
		for _, n := range w.nodes {
			for p := range strings.SplitSeq(prefixes, " ") {
				if strings.HasPrefix(n.Name, p) {
					chosen = append(chosen, n)
				}
			}
		}
		return chosen, nil
	}, d)
}

var (
	killNode = deed[*node]{
		do:   func(_ context.Context, _ *world, n *node) error { return n.shoot() },
		undo: func(_ context.Context, _ *world, n *node) error { return n.start() },
		felt: func(_ context.Context, _ *world, n *node) (string, error) { return gone(n.Listen) },
	}
	freezeNode = deed[*node]{
		do:   func(_ context.Context, _ *world, n *node) error { return n.freeze() },
		undo: func(_ context.Context, _ *world, n *node) error { return n.thaw() },
		felt: func(ctx context.Context, _ *world, n *node) (string, error) { return mute(ctx, n.Listen, plainRequest) },
	}
	holeNode = deed[*node]{
		do:   func(_ context.Context, _ *world, n *node) error { return eachLink(n.links, (*link).swallow) },
		undo: mendNode,
		felt: func(ctx context.Context, _ *world, n *node) (string, error) { return n.alone(ctx, swallowed) },
	}
	cutNode = deed[*node]{
		do:   func(_ context.Context, _ *world, n *node) error { return eachLink(n.links, (*link).sever) },
		undo: mendNode,
		felt: func(ctx context.Context, _ *world, n *node) (string, error) { return n.alone(ctx, severed) },
	}
	restartNode = killAgain(1, 0)
	killThrice  = killAgain(3, 1500*time.Millisecond)
)

func mendNode(_ context.Context, _ *world, n *node) error { return eachLink(n.links, (*link).mend) }

// alone wants the links to be as they should, and the node to say that its view is too old for its policy.
func (n *node) alone(ctx context.Context, links func([]*link) (string, error)) (string, error) {
	text, err := links(n.links)
	if err != nil {
		return text, err
	}
	var r readiness
	if err := n.get(ctx, "http://"+n.Listen+"/readyz", &r); err != nil {
		return "", err
	}
	if view := time.Duration(r.StalenessMS) * time.Millisecond; !n.Allow && r.Ready || view < n.Bound {
		return "", fmt.Errorf("%s is ready %v with a view %v old", n.Name, r.Ready, view)
	}
	return text, nil
}

func eachLink(links []*link, do func(*link)) error {
	for _, k := range links {
		do(k)
	}
	return nil
}

// killAgain kills a node and starts it at once, a few times.
func killAgain(times int, every time.Duration) deed[*node] {
	return deed[*node]{
		do: func(ctx context.Context, _ *world, n *node) error {
			for range times {
				if err := n.shoot(); err != nil {
					return err
				}
				if err := n.start(); err != nil {
					return err
				}
				pause(ctx, every)
			}
			return nil
		},
		undo: func(context.Context, *world, *node) error { return nil },
		felt: func(context.Context, *world, *node) (string, error) { return fmt.Sprintf("killed %d×", times), nil },
	}
}

// skew moves a node's clock and lets it drift. It is right again at the end, and until then and until it
// has healed young tokens may look wrong to it.
func skew(off time.Duration, rate float64) deed[*node] {
	return deed[*node]{
		do: func(ctx context.Context, _ *world, n *node) error {
			n.skewed.Store(true)
			return n.setClock(ctx, off, rate)
		},
		undo: func(ctx context.Context, _ *world, n *node) error { return n.setClock(ctx, 0, 0) },
		felt: func(ctx context.Context, _ *world, n *node) (string, error) { return n.wrong(ctx, off, rate) },
	}
}

// drifting lets the clocks of two nodes that deny drift by one fiftieth, and when that has come to a second takes the bus away from
// them: what they take for the age of their views would be wrong by it.
func drifting(hole time.Duration) begin {
	return func(ctx context.Context, w *world) (grip, error) {
		clocks, err := together(onNodes("deny-3", skew(0, -0.02)), onNodes("deny-4", skew(0, 0.02)))(ctx, w)
		if err != nil {
			return grip{}, err
		}
		holes, late, begun := over(""), error(nil), make(chan struct{})
		w.tasks.Go(func() {
			defer close(begun)
			pause(ctx, hole)
			g, err := onNodes("deny-3 deny-4", holeNode)(ctx, w)
			if late = err; err == nil {
				holes = g
			}
		})
		return grip{
			felt: func(ctx context.Context) (string, error) {
				one, err1 := clocks.felt(ctx)
				if <-begun; late != nil {
					return "", errors.Join(err1, late)
				}
				other, err2 := holes.felt(ctx)
				return one + "; " + other, errors.Join(err1, err2)
			},
			end: func(ctx context.Context) error {
				<-begun
				return errors.Join(holes.end(ctx), clocks.end(ctx))
			},
		}, nil
	}
}

var nodeFaults = []fault{
	{name: "nodes killed and started again", short: true, hold: 2 * time.Second, begin: onNodes("deny-1 deny-2 allow-1 allow-2", killNode)},
	{name: "nodes killed three times", hold: 0, begin: onNodes("deny-2 allow-1", killThrice)},
	{name: "nodes frozen", hold: 8 * time.Second, begin: onNodes("deny-1 deny-4 allow-1", freezeNode)},
	{name: "nodes in a black hole", short: true, hold: 7 * time.Second, begin: onNodes("deny-1 deny-2 allow-1 allow-4", holeNode)},
	{name: "nodes in a black hole for 25 s", hold: 25 * time.Second, begin: onNodes("deny-3 allow-2", holeNode)},
	{name: "a node cut off from all servers", hold: 8 * time.Second, begin: onNodes("deny-2 allow-2", cutNode)},
	{name: "clocks an hour ahead", hold: 6 * time.Second, begin: onNodes("deny-1 allow-1", skew(time.Hour, 0))},
	{name: "clocks an hour behind", hold: 6 * time.Second, begin: onNodes("deny-2 allow-2", skew(-time.Hour, 0))},
	{name: "clocks that drift, one tenth fast and slow", hold: 12 * time.Second, begin: together(onNodes("deny-3", skew(0, 0.1)), onNodes("allow-3", skew(0, -0.1)))},
}
