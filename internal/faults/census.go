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
	ctx, cancel := w.patient(ctx)
	defer cancel()
	c := census{nodes: map[string]vitals{}}
	for _, n := range w.nodes {
		if err := poll(ctx, 100*time.Millisecond, func() error {
			v, err := n.vitals(ctx)
			c.nodes[n.Name] = v
			return err
		}); err != nil {
			w.judge.report(i7, n.Name, "does not say what it holds: %v", err)
		}
	}
	var err error
	if c.servers, err = w.holds(ctx, w.complete); err != nil {
		w.judge.report(i7, "server", "does not say what it holds: %v", err)
	}
	return c
}

// complete wants everybody to be connected who will be, and to have asked for something over it: else more of what is
// held later would count as left behind.
func (w *world) complete(h holding) error {
	all := map[string]int{}
	for _, n := range w.nodes {
		all["faults-"+n.Name]++
	}
	for n := range w.publishers {
		all[fmt.Sprintf("faults-publisher-%d", n)]++
	}
	if n := len(w.issuers); n > 0 {
		all["quash-issuer"] = n
	}
	for name, n := range all {
		if h.connections[name] != n || h.subscriptions[name] < n {
			return fmt.Errorf("the servers hold %d connections of %s, with %d subscriptions; there are %d", h.connections[name], name, h.subscriptions[name], n)
		}
	}
	return nil
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
