package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/quash-auth/quash/internal/ports"
)

// crowd is such a process, seen from the driver.
type crowd struct {
	*process
	crowdConfig
	links []*link
	w     *world
}

// addCrowd starts many nodes and waits until each was synced.
func (w *world) addCrowd(ctx context.Context, c crowdConfig) (*crowd, error) {
	links, url, err := w.bus()
	if err != nil {
		return nil, err
	}
	c.NATS, c.Key = url, w.minter.public
	if c.Control, err = ports.Address(); err != nil {
		return nil, err
	}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	all := &crowd{crowdConfig: c, links: links, w: w, process: &process{name: "crowd", args: []string{w.bin.self, "crowd", string(text)}}}
	if err := all.start(); err != nil {
		return nil, err
	}
	return all, all.fresh(ctx)
}

func (c *crowd) look(ctx context.Context, query string) (v crowdVitals, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	n := node{process: c.process, client: &http.Client{}}
	defer n.client.CloseIdleConnections()
	if err = n.get(ctx, "http://"+c.Control+"/crowd"+query, &v); err != nil {
		err = errors.Join(err, c.err())
	}
	return v, err
}

// looked is look until there is an answer.
func (c *crowd) looked(ctx context.Context, query string) (v crowdVitals, err error) {
	ctx, cancel := c.w.patient(ctx)
	defer cancel()
	err = poll(ctx, 100*time.Millisecond, func() (err error) {
		v, err = c.look(ctx, query)
		return err
	})
	return v, err
}

// each wants the servers to hold one connection of each.
func (c *crowd) each(h holding) error {
	for n := range c.Members {
		if name := c.crowdConfig.name(n); h.connections[name] != 1 {
			return fmt.Errorf("the servers hold %d connections of %s", h.connections[name], name)
		}
	}
	return nil
}

// fresh waits until the oldest view is of after now.
func (c *crowd) fresh(ctx context.Context) error {
	began := time.Now()
	ctx, cancel := c.w.patient(ctx)
	defer cancel()
	return poll(ctx, 100*time.Millisecond, func() error {
		v, err := c.look(ctx, "")
		if err == nil && !v.AsOf.After(began) {
			err = fmt.Errorf("the oldest view of %d nodes is of %s, %d are connected", c.Members, stamp(v.AsOf), v.Connected)
		}
		return err
	})
}

// drop breaks all connections and waits until all are there again.
func (c *crowd) drop(ctx context.Context) error {
	before, err := c.looked(ctx, "")
	if err != nil {
		return err
	}
	for _, k := range c.links {
		k.drop()
	}
	ctx, cancel := c.w.patient(ctx)
	defer cancel()
	return poll(ctx, 20*time.Millisecond, func() error {
		v, err := c.look(ctx, "")
		if err == nil && (v.Connected < c.Members || v.Reconnects < before.Reconnects+uint64(c.Members)) {
			err = fmt.Errorf("%d of %d nodes are connected", v.Connected, c.Members)
		}
		return err
	})
}

// churn drops every connection of many nodes again and again, in the middle of whatever they
// read, and compares what they hold, and what the servers hold for them, with before (I7).
func (w *world) churn(ctx context.Context, c crowdConfig, rounds int) (string, error) {
	all, err := w.addCrowd(ctx, c)
	if err != nil {
		return "", err
	}
	defer all.kill()
	// What grows once and no more is there after the first few.
	for range 3 {
		if err := all.drop(ctx); err != nil {
			return "", err
		}
	}
	if err := all.fresh(ctx); err != nil {
		return "", err
	}
	before, err := all.looked(ctx, "?collect=1")
	if err != nil {
		return "", err
	}
	held, err := w.holds(ctx, all.each)
	if err != nil {
		return "", err
	}
	for n := range rounds {
		if err := all.drop(ctx); err != nil {
			w.judge.report(i5, "crowd", "round %d: %v", n, err)
			return "", nil
		}
	}
	if err := all.fresh(ctx); err != nil {
		w.judge.report(i5, "crowd", "%v", err)
		return "", nil
	}
	w.leftovers(ctx) // while all live: nobody who follows needs a consumer
	now := before
	var holds holding
	verdict := func(who string, ask func() error) { // an answer that has begun is waited for, whatever may be expected of it
		pctx, cancel := w.patientWith(ctx, who)
		defer cancel()
		if err := poll(pctx, 500*time.Millisecond, ask); err != nil {
			w.judge.report(i7, who, "after %d rounds: %v", rounds, err)
		}
	}
	verdict("crowd", func() error {
		seen, err := all.looked(ctx, "?collect=1")
		if err != nil {
			return err
		}
		now = seen
		return now.more(before.vitals, c.Members/4+8)
	})
	verdict("server", func() error {
		seen, err := w.holds(ctx, func(holding) error { return nil })
		if err != nil {
			return err
		}
		holds = seen
		return errors.Join(all.each(holds), holds.more(held))
	})
	text := fmt.Sprintf("%d reconnects of %d nodes: goroutines %d → %d, files %d → %d, heap %d → %d MiB; servers: %v → %v", now.Reconnects-before.Reconnects, c.Members,
		before.Goroutines, now.Goroutines, before.Files, now.Files, before.Heap>>20, now.Heap>>20, held, holds)
	if int(now.Reconnects-before.Reconnects) < c.Members*rounds {
		return "", fmt.Errorf("not everybody has lost every connection: %s", text)
	}
	return text, nil
}

var crowdFaults = []fault{
	{name: "100 more nodes, disconnected 100 times, killed", begin: func(ctx context.Context, w *world) (grip, error) {
		felt, err := w.churn(ctx, crowdConfig{Members: 100}, 100)
		return over("%s", felt), err
	}},
}
