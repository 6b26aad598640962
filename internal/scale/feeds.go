package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier"
)

// Kinds of followers. All but bare end in a verifier's denylist.
const (
	kindFeed    = "feed"    // ours: events.Subscriber
	kindOrdered = "ordered" // a stock ordered consumer for each node
	kindBare    = "bare"    // a plain subscription that reads and forgets: the floor
)

// noted tells when a statement is in force, and loses some if it is told to.
type noted struct {
	verifier.Feed
	note func([]events.Event)
	lose func(events.Event) bool // nil: none
}

// Run hands on what is not to be lost and notes it when it has been applied.
func (n *noted) Run(ctx context.Context, apply events.Apply) error {
	return n.Feed.Run(ctx, func(ctx context.Context, batch []events.Event) error {
		if n.lose != nil {
			kept := batch[:0]
			for _, e := range batch {
				if !n.lose(e) {
					kept = append(kept, e)
				}
			}
			batch = kept
		}
		if err := apply(ctx, batch); err != nil {
			return err
		}
		n.note(batch)
		return nil
	})
}

// ordered is a Feed of the kind that is written without quash: a stock ordered
// consumer. It believes that nothing is missing.
type ordered struct {
	nc   *nats.Conn
	asOf atomic.Int64 // Unix nanoseconds of the newest message
	seq  atomic.Uint64
}

// Run reads everything stored and goes on.
func (o *ordered) Run(ctx context.Context, apply events.Apply) error {
	js, err := jetstream.New(o.nc)
	if err != nil {
		return err
	}
	cons, err := o.create(ctx, js)
	if err != nil {
		return err
	}
	if cons.CachedInfo().NumPending == 0 {
		o.asOf.Store(time.Now().UnixNano()) // there is nothing to read
	}
	batch := make([]events.Event, 1)
	cc, err := cons.Consume(func(m jetstream.Msg) {
		at, err := m.Metadata()
		if err != nil {
			return // not of a consumer
		}
		if m.Subject() != events.SubjectBeacon {
			r, err := events.Decode(m.Data())
			if err != nil {
				return
			}
			batch[0] = events.Event{Revocation: r, Sequence: at.Sequence.Stream, Time: at.Timestamp}
			if apply(ctx, batch) != nil {
				return
			}
		}
		o.asOf.Store(at.Timestamp.UnixNano())
		o.seq.Store(at.Sequence.Stream)
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	cc.Stop()
	return nil
}

// create repeats until the server, which many ask at once, has answered.
func (o *ordered) create(ctx context.Context, js jetstream.JetStream) (jetstream.Consumer, error) {
	for {
		cons, err := js.OrderedConsumer(ctx, events.StreamName, jetstream.OrderedConsumerConfig{})
		if err == nil {
			return cons, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("create an ordered consumer: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Freshness takes the newest message for a proof.
func (o *ordered) Freshness(now time.Time) events.Freshness {
	at := o.asOf.Load()
	if at == 0 {
		return events.Freshness{}
	}
	asOf := time.Unix(0, at)
	return events.Freshness{Synced: true, AsOf: asOf, Staleness: max(now.Sub(asOf), 0)}
}

// Status says no more than the sequence.
func (o *ordered) Status() events.Status {
	return events.Status{Connected: o.nc.IsConnected(), Sequence: o.seq.Load(),
		Layout: events.Layout{Retention: events.Retention{MaxTokenLife: maxTokenLife}}}
}

// WaitApplied is not needed here.
func (o *ordered) WaitApplied(ctx context.Context, _ events.Position) error {
	<-ctx.Done()
	return ctx.Err()
}
