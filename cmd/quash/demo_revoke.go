package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quash-auth/quash/events"
)

// propagation is how fast a revocation reached the nodes, seen by a client that
// polls each of them over HTTP.
type propagation struct {
	AckMS   float64   `json:"publish_to_ack_ms"`
	P50MS   float64   `json:"ack_to_401_p50_ms"` // 0: before the ack
	MaxMS   float64   `json:"ack_to_401_max_ms"`
	NodesMS []float64 `json:"ack_to_401_ms"` // by node
	PollMS  float64   `json:"poll_interval_ms"`
}

// stepRevoke publishes as a business system would and watches every node.
func stepRevoke(ctx context.Context, d *demo) (found, error) {
	claims, err := claimsOf(d.first.Access)
	if err != nil {
		return found{}, err
	}
	conn, err := d.world.flags().connectNow(ctx, "quash-demo-publisher", d.world.log)
	if err != nil {
		return found{}, err
	}
	defer conn.Close()
	publisher, err := events.NewPublisher(events.PublisherConfig{Conn: conn, By: "admin"})
	if err != nil {
		return found{}, err
	}
	// A publisher that runs already knows the stream: not part of what is measured.
	r, err := publisher.Complete(ctx, events.Revocation{Issuer: d.world.issuerURL(), Scope: events.Session, Key: claims.Sid, Reason: "demo: laptop stolen"})
	if err != nil {
		return found{}, err
	}

	pause := pollPause(d.world.size)
	watch := d.watchNodes(ctx, d.first.Access, pause)
	if err := watch.allAccept(ctx); err != nil {
		return found{}, errors.Join(err, watch.wait())
	}
	began := time.Now()
	ack, err := publisher.Publish(ctx, r)
	acked := time.Now()
	if err != nil {
		watch.cancel()
		return found{}, errors.Join(err, watch.wait())
	}
	if err := watch.wait(); err != nil {
		return found{}, err
	}
	d.revoked = append(d.revoked, d.first.Access)
	d.report.Propagation = watch.result(began, acked, pause)

	// The issuer is one of the fleet: once it has applied the statement as well, its
	// refresh side is closed.
	expect := []string{"issuer"}
	for _, m := range d.world.members {
		expect = append(expect, m.name)
	}
	answers, err := events.AskFleet(ctx, conn, events.Question{Sequence: ack.Sequence, Expect: expect, Quiet: 20 * time.Second})
	if err != nil {
		return found{}, err
	}
	if len(answers) < len(expect) {
		return found{}, fmt.Errorf("only %d of %d confirm it", len(answers), len(expect))
	}
	p := d.report.Propagation
	return found{fmt.Sprintf("ack %.2f ms; then 401: p50 %.2f, slowest %.2f ms; %d of %d confirm", p.AckMS, p.P50MS, p.MaxMS, len(answers), len(expect)),
		time.Duration(p.MaxMS * float64(time.Millisecond))}, nil
}

// pollPause keeps many pollers from being the load that they measure.
func pollPause(nodes int) time.Duration {
	return max(200*time.Microsecond, time.Duration(nodes)*40*time.Microsecond)
}

// nodeWatch polls every node with one token until it is refused.
type nodeWatch struct {
	cancel   context.CancelFunc
	accepted atomic.Int64 // nodes that have accepted it at least once
	nodes    int
	refused  []time.Time // by node; when the first 401 was there
	errs     []error
	wg       sync.WaitGroup
}

func (d *demo) watchNodes(ctx context.Context, token string, pause time.Duration) *nodeWatch {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	n := len(d.world.members)
	w := &nodeWatch{cancel: cancel, nodes: n, refused: make([]time.Time, n), errs: make([]error, n)}
	for i, m := range d.world.members {
		w.wg.Go(func() { w.refused[i], w.errs[i] = w.follow(ctx, d.client, m, token, pause) })
	}
	return w
}

func (w *nodeWatch) follow(ctx context.Context, c *client, m *member, token string, pause time.Duration) (time.Time, error) {
	const after = 20 // once refused, it must stay refused
	var first time.Time
	accepted, unready := false, false
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for refusals := 0; refusals < after; {
		a, err := c.get(ctx, m.url(), token)
		now := time.Now()
		switch {
		case err != nil:
			return first, err
		case a.status == http.StatusUnauthorized:
			if refusals == 0 {
				first = now
			}
			refusals++
		case a.status == http.StatusOK && refusals > 0:
			return first, fmt.Errorf("%s accepted the token again after refusing it", m.name)
		case a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != "":
			if !unready { // it accepts nothing meanwhile
				unready = true
				c.waits.note("%s answered 503 while it was watched", m.name)
			}
		case a.status != http.StatusOK:
			return first, fmt.Errorf("%s answered %d: %s", m.name, a.status, a.text())
		case !accepted:
			accepted = true
			w.accepted.Add(1)
		}
		select {
		case <-ctx.Done():
			return first, fmt.Errorf("%s answered %d in the end: %w", m.name, a.status, ctx.Err())
		case <-tick.C:
		}
	}
	return first, nil
}

// allAccept waits until each node has accepted the token once: only then does a
// refusal mean something.
func (w *nodeWatch) allAccept(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err := poll(ctx, func() error {
		if n := w.accepted.Load(); n < int64(w.nodes) {
			return fmt.Errorf("%d of %d nodes accept the token", n, w.nodes)
		}
		return nil
	})
	if err != nil {
		w.cancel()
	}
	return err
}

func (w *nodeWatch) wait() error {
	w.wg.Wait()
	w.cancel()
	return errors.Join(w.errs...)
}

func (w *nodeWatch) result(began, acked time.Time, pause time.Duration) *propagation {
	p := &propagation{AckMS: ms(acked.Sub(began)), PollMS: ms(pause)}
	for _, t := range w.refused {
		p.NodesMS = append(p.NodesMS, ms(max(0, t.Sub(acked))))
	}
	sorted := slices.Sorted(slices.Values(p.NodesMS))
	p.P50MS, p.MaxMS = sorted[len(sorted)/2], sorted[len(sorted)-1]
	return p
}
