package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// fault is something that goes wrong and ends again.
type fault struct {
	name  string
	short bool          // part of the short form
	hold  time.Duration // how long it lasts
	needs need          // what must have been built for it
	begin func(context.Context, *world) (end, error)
}

// need is what only some faults need.
type need uint8

const (
	oldVersions need = 1 << iota // a world that begins with older programs
	slowServers                  // servers whose disk can be slow
)

// end makes a fault stop. What follows is for the programme to heal by itself.
type end func(context.Context) error

// none is the end of a fault that is over at once.
func none(context.Context) error { return nil }

// pair is two faults at the same time.
func pair(a, b fault) fault {
	return fault{name: a.name + " + " + b.name, hold: max(a.hold, b.hold), needs: a.needs | b.needs, begin: func(ctx context.Context, w *world) (end, error) {
		endA, err := a.begin(ctx, w)
		if err != nil {
			return nil, err
		}
		endB, err := b.begin(ctx, w)
		if err != nil {
			return nil, errors.Join(err, endA(ctx))
		}
		return func(ctx context.Context) error { return errors.Join(endA(ctx), endB(ctx)) }, nil
	}}
}

// episode is what was seen of one fault.
type episode struct {
	fault
	healing
	verdicts
	acked, lost int
	stalled     [2]time.Duration // what the machine took from everybody: altogether, and at the longest at once
	err         error            // the fault itself could not be made
}

// run makes one fault happen in a world that is well, and waits until it is well
// again.
func (w *world) run(ctx context.Context, f fault) episode {
	e := episode{fault: f}
	acked, _, lost := w.ledger.count()
	w.said("%s", f.name)
	began := time.Now()
	stop, err := f.begin(ctx, w)
	if err != nil {
		e.err = fmt.Errorf("%s: %w", f.name, err)
	} else {
		select {
		case <-time.After(f.hold):
		case <-ctx.Done():
		}
		if err := stop(ctx); err != nil {
			e.err = fmt.Errorf("end of %s: %w", f.name, err)
		}
	}
	e.healing = w.heal(ctx)
	w.settle(ctx, acked)
	e.verdicts = w.judge.harvest()
	ackedNow, _, lostNow := w.ledger.count()
	e.acked, e.lost = ackedNow-acked, lostNow-lost
	e.stalled[0], e.stalled[1] = w.canary.since(began)
	w.said("  machine stalled for %v; nodes %v, publishers %v, issuers %v; %d acknowledged, %d not; %d accepted, %d refused, %d unjudged, %d unanswered; oldest view accepted with %v", round(e.stalled[0]), round(e.nodes), round(e.publish), round(e.issuers), e.acked, e.lost,
		e.accepted, e.refused, e.unjudged, e.none, round(e.worst))
	return e
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
