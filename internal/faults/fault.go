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
	begin begin
}

// need is what only some faults need.
type need uint8

const (
	oldVersions need = 1 << iota // a world that begins with older programs
	slowServers                  // servers whose disk can be slow
)

// begin makes a fault happen.
type begin func(context.Context, *world) (grip, error)

// grip is a fault that has begun.
type grip struct {
	// felt says what it does to those whom it has hit, at the end of its time. A fault of which nobody notices
	// anything shows nothing: that is an error.
	felt func(context.Context) (string, error)
	end  func(context.Context) error // what follows is for the programme to heal by itself
}

// over is a fault that has been and is over.
func over(format string, args ...any) grip {
	text := fmt.Sprintf(format, args...)
	return grip{func(context.Context) (string, error) { return text, nil }, func(context.Context) error { return nil }}
}

// together is two faults at the same time.
func together(a, b begin) begin {
	return func(ctx context.Context, w *world) (grip, error) {
		first, err := a(ctx, w)
		if err != nil {
			return grip{}, err
		}
		second, err := b(ctx, w)
		if err != nil {
			return grip{}, errors.Join(err, first.end(ctx))
		}
		return grip{
			felt: func(ctx context.Context) (string, error) {
				one, err1 := first.felt(ctx)
				other, err2 := second.felt(ctx)
				return one + "; " + other, errors.Join(err1, err2)
			},
			end: func(ctx context.Context) error { return errors.Join(first.end(ctx), second.end(ctx)) },
		}, nil
	}
}

// pair is a fault that is two at the same time.
func pair(a, b fault) fault {
	return fault{name: a.name + " + " + b.name, hold: max(a.hold, b.hold), needs: a.needs | b.needs, begin: together(a.begin, b.begin)}
}

// episode is what was seen of one fault.
type episode struct {
	fault
	healing
	verdicts
	felt        string
	acked, lost int
	stalled     [2]time.Duration // what the machine took from everybody: altogether, and at the longest at once
	err         error            // the fault itself could not be made
	unfelt      error            // nobody noticed it
}

// run makes one fault happen in a world that is well, and waits until it is well
// again.
func (w *world) run(ctx context.Context, f fault) episode {
	e := episode{fault: f}
	acked, _, lost := w.ledger.count()
	w.said("%s", f.name)
	began := time.Now()
	grip, err := f.begin(ctx, w)
	if err != nil {
		e.err = fmt.Errorf("%s: %w", f.name, err)
		w.said("  NOT RUN: %v", err)
	} else {
		pause(ctx, f.hold)
		if e.felt, err = w.feel(ctx, grip); err != nil {
			e.unfelt = fmt.Errorf("%s: it was not felt: %w", f.name, err)
			w.said("  NOT FELT: %v", err)
		}
		if err := grip.end(ctx); err != nil {
			e.err = fmt.Errorf("end of %s: %w", f.name, err)
		}
	}
	e.healing = w.heal(ctx)
	w.settle(ctx, acked)
	e.verdicts = w.judge.harvest()
	ackedNow, _, lostNow := w.ledger.count()
	e.acked, e.lost = ackedNow-acked, lostNow-lost
	e.stalled[0], e.stalled[1] = w.canary.since(began)
	w.said("  felt: %s", e.felt)
	w.said("  machine stalled for %v; nodes %v, publishers %v, issuers %v; %d acknowledged, %d not; %d accepted, %d refused, %d unjudged, %d unanswered; oldest view accepted with %v", round(e.stalled[0]), round(e.nodes), round(e.publish), round(e.issuers), e.acked, e.lost,
		e.accepted, e.refused, e.unjudged, e.none, round(e.worst))
	return e
}

// feel says what a fault does at the end of its time. On a busy machine it goes on until that can be seen.
func (w *world) feel(ctx context.Context, g grip) (text string, err error) {
	pctx, cancel := w.patient(ctx)
	defer cancel()
	err = poll(pctx, 100*time.Millisecond, func() (err error) {
		text, err = g.felt(ctx)
		return err
	})
	return text, err
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
