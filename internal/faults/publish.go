package main

import (
	"context"
	"fmt"
	"time"

	"github.com/quash-auth/quash/events"
)

// publishEvery is the pace of one publisher.
const publishEvery = 80 * time.Millisecond

// startPublisher runs a business system: it revokes, again and again with the
// same ID until it is acknowledged or a while has passed.
func (w *world) startPublisher(ctx context.Context, i int) error {
	_, url, err := w.bus()
	if err != nil {
		return err
	}
	conn, err := events.Connect(w.guard.config(events.ConnectConfig{URL: url, Name: fmt.Sprintf("faults-publisher-%d", i)}, fmt.Sprintf("publisher-%d", i)))
	if err != nil {
		return err
	}
	p, err := events.NewPublisher(events.PublisherConfig{Conn: conn, By: "policy"})
	if err != nil {
		conn.Close()
		return err
	}
	w.tasks.Go(func() {
		defer conn.Close()
		tick := time.NewTicker(publishEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			w.publish(ctx, p)
		}
	})
	return nil
}

// publish revokes one token. A settling world lets it finish, and then waits.
func (w *world) publish(ctx context.Context, p *events.Publisher) {
	w.between.RLock()
	defer w.between.RUnlock()
	t := w.ledger.victim(w.minter)
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	t.about.ID = events.NewID()
	if _, err := p.Publish(ctx, t.about); err != nil {
		w.ledger.noAck(err)
		return
	}
	w.ledger.ack(t)
}
