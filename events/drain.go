package events

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// drain decodes on one goroutine and applies on another: either alone is
// slower than what the server delivers.
func (c *catchUp) drain(ctx context.Context, msgs jetstream.MessagesContext, consumer string, head uint64, from anchor, r *catchUpResult) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d := decoder{catchUp: c, consumer: consumer, head: head, from: from, batches: make(chan []Event, 4), spare: make(chan []Event, 6)}
	applied := make(chan struct{})
	go func() {
		defer close(applied)
		for b := range d.batches {
			if ctx.Err() == nil {
				if err := c.apply(ctx, b); err != nil {
					cancel(fmt.Errorf("apply: %w", err))
				}
			}
			clear(b)
			select {
			case d.spare <- b[:0]:
			default:
			}
		}
	}()
	err := d.run(ctx, msgs)
	close(d.batches)
	<-applied
	if cause := context.Cause(ctx); cause != nil {
		return cause // some of what was handed over may not have been applied
	}
	r.reached, r.anchor, r.arrival = d.reached, d.anchor, d.arrival
	return err
}

// decoder turns deliveries into batches of events.
type decoder struct {
	*catchUp
	consumer string // whose deliveries these must be
	head     uint64
	from     anchor
	batches  chan []Event
	spare    chan []Event

	reached anchor    // everything up to it was handed over
	arrival time.Time // of the last one; that it is applied later is no delay of the network
	anchor  anchor    // a long-lived one of them
}

func (d *decoder) run(ctx context.Context, msgs jetstream.MessagesContext) error {
	const size = 256
	batch := make([]Event, 0, size)
	nudged := false
	var long anchor // as d.anchor, of the batch that is being filled too
	pending := uint64(1)
	for delivery := uint64(1); ; delivery++ {
		m, err := d.next(ctx, msgs, pending == 0)
		if err != nil {
			return err
		}
		p, err := position(m.Reply())
		if err != nil {
			return err
		}
		if p.consumer != d.consumer {
			return fmt.Errorf("read stream %s: a delivery of consumer %s came to the reader of %s", StreamName, p.consumer, d.consumer)
		}
		if p.delivery != delivery {
			// The link broke and what was under way is lost: nothing is
			// acknowledged, so nothing is sent again.
			return fmt.Errorf("read stream %s: delivery %d came instead of %d", StreamName, p.delivery, delivery)
		}
		pending = p.pending
		d.progress.Add(1)
		if delivery == 1 && d.from.seq > 0 {
			switch {
			case p.seq != d.from.seq:
				return errUnproven
			case !p.at.Equal(d.from.at):
				return errOther
			}
		}
		if m.Subject() != SubjectBeacon {
			if r, err := Decode(m.Data()); err != nil {
				d.undecodable(p.seq, p.at, m.Headers().Get(nats.MsgIdHdr) != "", kept(m.Headers()), err)
			} else {
				batch = append(batch, Event{Revocation: r, Sequence: p.seq, Time: p.at, Kept: kept(m.Headers()), Rewinds: d.era})
				long.offer(p.seq, p.at, r.Until)
			}
		}
		done := p.seq >= d.head
		if done {
			d.arrival = d.now()
		}
		if len(batch) == size || len(batch) > 0 && (done || pending == 0) {
			select {
			case d.batches <- batch:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			select {
			case batch = <-d.spare:
			default:
				batch = make([]Event, 0, size)
			}
		}
		if len(batch) == 0 {
			d.reached, d.anchor = anchor{seq: p.seq, at: p.at}, long // who goes on from either must not lack what is before it
		}
		if done {
			return nil
		}
		if pending == 0 && !nudged {
			// The message at the head has expired, or this replica lags.
			nudged = true
			d.nudge(d.head)
		}
	}
}

// next waits for a delivery; if everything known was delivered, not for long.
func (d *decoder) next(ctx context.Context, msgs jetstream.MessagesContext, end bool) (jetstream.Msg, error) {
	if !end {
		m, err := msgs.Next(jetstream.NextContext(ctx))
		if err != nil {
			return nil, fmt.Errorf("read stream %s: %w", StreamName, err)
		}
		return m, nil
	}
	ectx, cancel := context.WithTimeout(ctx, endPatience*d.interval)
	defer cancel()
	m, err := msgs.Next(jetstream.NextContext(ectx))
	if err != nil && ectx.Err() != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("read stream %s: %w", StreamName, errNoEnd)
	}
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", StreamName, err)
	}
	return m, nil
}
