package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/quash-auth/quash/events"
)

// healing is how long it took from the end of a fault until all was well.
type healing struct {
	nodes   time.Duration // the last node is ready, with a view of after the fault
	publish time.Duration // a revocation is acknowledged
	issuers time.Duration // both say that they are ready
}

const (
	longPatience  = time.Minute      // how long healing may take before it counts as not happening
	slowPatience  = 3 * longPatience // the same in the short form, which runs on any machine, however busy
	longHealing   = 10 * time.Second // people are told what took so long
	shortPatience = 5 * time.Second  // the same for whom it is known not to happen
)

// readiness is what a node's readiness probe says.
type readiness struct {
	Ready       bool      `json:"ready"`
	Reason      string    `json:"reason"`
	AsOf        time.Time `json:"as_of"`
	StalenessMS int64     `json:"staleness_ms"`
}

// well returns nil once the node is ready with a view of after an instant.
func (n *node) well(ctx context.Context, after time.Time) error {
	if err := n.err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var r readiness
	if err := n.get(ctx, "http://"+n.Listen+"/readyz", &r); err != nil {
		return fmt.Errorf("%s: %w", n.Name, err)
	}
	switch {
	case !r.Ready:
		return fmt.Errorf("%s is not ready: %s", n.Name, r.Reason)
	case !r.AsOf.After(after):
		return fmt.Errorf("%s has a view of %s, from before %s", n.Name, stamp(r.AsOf), stamp(after))
	case time.Duration(r.StalenessMS)*time.Millisecond > n.Bound:
		return fmt.Errorf("%s has a view %d ms old", n.Name, r.StalenessMS)
	}
	return nil
}

// heal waits until everything works again after the end of a fault (I5).
func (w *world) heal(ctx context.Context) (h healing) {
	end := time.Now()
	acked, _, _ := w.ledger.count()
	var all sync.WaitGroup
	wait := func(who string, took *time.Duration, ask func(context.Context) error) {
		all.Go(func() {
			ctx, cancel := w.patientWith(ctx, who)
			defer cancel()
			var last error
			if err := poll(ctx, 50*time.Millisecond, func() error {
				err := ask(ctx)
				last = cmp.Or(err, last)
				return err
			}); err != nil {
				w.judge.report(i5, who, "does not heal: %v", err)
				w.given(who)
			}
			if *took = max(*took, time.Since(end)); *took > longHealing {
				w.said("  %s took %v, its last word before: %v", who, round(*took), last)
			}
		})
	}
	took := make([]time.Duration, len(w.nodes)+len(w.issuers))
	for i, n := range w.nodes {
		wait(n.Name, &took[i], func(ctx context.Context) error { return n.well(ctx, end) })
	}
	for i, r := range w.issuers {
		wait(r.name, &took[len(w.nodes)+i], r.ready)
	}
	wait("publishers", &h.publish, func(context.Context) error {
		if now, _, _ := w.ledger.count(); now == acked {
			return errors.New("nothing was acknowledged")
		}
		return nil
	})
	all.Wait()
	for i, d := range took {
		if i < len(w.nodes) {
			h.nodes = max(h.nodes, d)
		} else {
			h.issuers = max(h.issuers, d)
		}
	}
	for _, n := range w.nodes {
		n.skewed.Store(false)
	}
	return h
}

// given marks a node that did not heal: nothing more is expected of it.
func (w *world) given(name string) {
	for _, n := range w.nodes {
		if n.Name == name {
			n.lost.Store(true)
		}
	}
}

// following are the nodes that healed.
func (w *world) following() []*node {
	return slices.DeleteFunc(slices.Clone(w.nodes), func(n *node) bool { return n.lost.Load() })
}

// settle stops the publishers, waits until every node has seen all that was
// acknowledged, and compares (I1, I6, I7). since is how many acknowledgements were
// checked before.
func (w *world) settle(ctx context.Context, since int) {
	w.between.Lock() // publishers finish what they have begun, and wait
	defer w.between.Unlock()
	quiet := time.Now()
	var all sync.WaitGroup
	tokens := w.ledger.since(since)
	for _, n := range w.following() {
		all.Go(func() {
			ctx, cancel := w.patientWith(ctx, n.Name)
			defer cancel()
			if err := poll(ctx, 50*time.Millisecond, func() error { return n.well(ctx, quiet) }); err != nil {
				w.judge.report(i5, n.Name, "does not follow any more: %v", err)
				w.given(n.Name)
			}
		})
	}
	all.Wait()
	for _, n := range w.following() {
		all.Go(func() { w.recheck(ctx, n, tokens) })
	}
	all.Wait()
	all.Go(func() { w.compare(ctx) })
	all.Go(func() { w.leftovers(ctx) })
	all.Wait()
}

// recheck shows a node every token whose revocation was acknowledged (I1).
func (w *world) recheck(ctx context.Context, n *node, tokens []*token) {
	for _, t := range tokens {
		err := poll(ctx, 20*time.Millisecond, func() error {
			a, ok := n.show(ctx, t)
			switch {
			case !ok:
				return errors.New("no answer")
			case a.status == http.StatusOK:
				w.judge.report(i1, n.Name, "accepts a token whose revocation (%v %s) was acknowledged at %s", t.about.Scope, t.about.Key, stamp(a.acked))
			case a.status != http.StatusUnauthorized:
				return fmt.Errorf("status %d", a.status)
			}
			return nil
		})
		if err != nil {
			w.judge.report(i1, n.Name, "gives no verdict on a revoked token: %v", err)
			return
		}
	}
}

// compare asks the fleet until every node was seen to hold the same as the first
// when both had applied the same part of the stream, or not to (I6).
func (w *world) compare(ctx context.Context) {
	ctx, cancel := w.patient(ctx)
	defer cancel()
	const sure = 30 // a statement that is being applied may be in a digest before its sequence, for seconds on a busy machine
	var names []string
	for _, n := range w.following() {
		names = append(names, n.Name)
	}
	agreed, apart := map[string]bool{}, map[string]int{}
	if err := poll(ctx, 200*time.Millisecond, func() error {
		answers, err := events.AskFleet(ctx, w.conn, events.Question{Quiet: 500 * time.Millisecond, Expect: names})
		if err != nil {
			return err
		}
		reports := map[string]events.Report{}
		for _, a := range answers {
			reports[a.Node] = a.Report
		}
		open := error(nil)
		for _, name := range names {
			first, r := reports[names[0]], reports[name]
			switch {
			case first.Node == "" || r.Node == "":
				open = fmt.Errorf("%s or %s does not answer", names[0], name)
			case first.Disagree(r):
				apart[name]++
			case first.Sequence == r.Sequence && first.DigestFrom.Equal(r.DigestFrom):
				agreed[name], apart[name] = true, 0
			}
			if !agreed[name] && apart[name] < sure && open == nil {
				open = fmt.Errorf("%s was not seen at the same sequence as %s often enough", name, names[0])
			}
		}
		return open
	}); err != nil {
		w.judge.report(i6, "fleet", "no agreement: %v", err)
	}
	for name, times := range apart {
		if times >= sure {
			w.judge.report(i6, name, "holds other statements than %s at the same sequence", names[0])
		}
	}
}

// leftovers wants no consumer on the server: all readings are over (I7).
func (w *world) leftovers(ctx context.Context) {
	ctx, cancel := w.patientWith(ctx, "server")
	defer cancel()
	if err := poll(ctx, 200*time.Millisecond, func() error {
		left, err := w.consumers(ctx)
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%d consumers are left on the stream: %s", len(left), strings.Join(left, "; "))
		}
		return err
	}); err != nil {
		w.judge.report(i7, "server", "%v", err)
	}
}
