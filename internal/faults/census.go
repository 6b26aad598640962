package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// census is what the nodes hold, and the servers for them.
type census struct {
	nodes   map[string]vitals
	servers holding
}

func (w *world) census(ctx context.Context) census {
	c := census{nodes: map[string]vitals{}}
	for _, n := range w.nodes {
		v, err := n.vitals(ctx)
		if err != nil {
			w.judge.report(i7, n.Name, "does not say what it holds: %v", err)
		}
		c.nodes[n.Name] = v
	}
	var err error
	if c.servers, err = w.holding(ctx); err != nil {
		w.judge.report(i7, "server", "does not say what it holds: %v", err)
	}
	return c
}

// last looks at everything once more: every acknowledged revocation at every node,
// and what nodes and servers hold.
func (w *world) last(ctx context.Context, before census, r *result) episode {
	e := episode{fault: fault{name: "everything once more at the end"}}
	w.said("%s", e.name)
	began := time.Now()
	e.healing = w.heal(ctx)
	w.settle(ctx, 0)
	r.rechecks, _, _ = w.ledger.count()
	e.felt = w.grown(ctx, before)
	e.stalled[0], e.stalled[1] = w.canary.since(began)
	e.verdicts = w.judge.harvest()
	return e
}

const (
	entry = 256      // bytes on the heap for a statement, generously
	room  = 16 << 20 // what a heap may grow besides
)

// grown compares with the beginning what the nodes hold and what the servers hold (I7), and says both. What
// serves the probes comes and goes by a few.
func (w *world) grown(ctx context.Context, before census) string {
	var all sync.WaitGroup
	var now holding
	all.Go(func() {
		ctx, cancel := w.patientWith(ctx, "server")
		defer cancel()
		if err := poll(ctx, 200*time.Millisecond, func() error {
			seen, err := w.holding(ctx)
			if err != nil {
				return err
			}
			now = seen
			return now.more(before.servers)
		}); err != nil {
			w.judge.report(i7, "server", "%v", err)
		}
	})
	for _, n := range w.nodes {
		all.Go(func() {
			ctx, cancel := w.patientWith(ctx, n.Name)
			defer cancel()
			if err := poll(ctx, 200*time.Millisecond, func() error {
				v, err := n.vitals(ctx)
				if err != nil {
					return err
				}
				return v.more(before.nodes[n.Name], 20)
			}); err != nil {
				w.judge.report(i7, n.Name, "%v", err)
			}
		})
	}
	all.Wait()
	return fmt.Sprintf("servers: %v; at the beginning %v", now, before.servers)
}

// more says what a process of ours holds of what it did not hold before.
func (v vitals) more(before vitals, few int) error {
	switch {
	case v.Goroutines > before.Goroutines+few:
		return fmt.Errorf("%d goroutines, before %d", v.Goroutines, before.Goroutines)
	case v.Files > before.Files+few:
		return fmt.Errorf("%d open files, before %d", v.Files, before.Files)
	case v.Heap > before.Heap+room+entry*uint64(max(v.Entries-before.Entries, 0)):
		return fmt.Errorf("%d MiB on the heap for %d statements, before %d for %d", v.Heap>>20, v.Entries, before.Heap>>20, before.Entries)
	}
	return nil
}
