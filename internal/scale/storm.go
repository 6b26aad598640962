package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/quash-auth/quash/events"
)

// stormConfig is a breach: many sessions are revoked at once, under full traffic.
type stormConfig struct {
	Nodes      int
	Statements int
	Workers    int
	Rate       float64 // see loadConfig
	Calm       time.Duration
}

type stormResult struct {
	stormConfig
	Before, During, After loadResult
	Acked                 time.Duration // from the first publish until the last acknowledgement
	Enforced              time.Duration // until the last statement was applied at the last node
	Each                  quantiles     // from the first publish until a statement was applied at a node
	Lost, Unenforced      int
	Refused, Doomed       int // of so many covered tokens, presented at every node afterwards
	Again                 int // good tokens that were not accepted, or had no answer
	CPU                   time.Duration
}

func (c stormConfig) run(ctx context.Context) (r stormResult, err error) {
	r.stormConfig = c
	f, err := startFleet(ctx, fleetConfig{Topology: topoOne, Kind: kindFeed, Nodes: c.Nodes, Children: c.Nodes})
	var asker *child
	defer func() {
		if asker != nil {
			err = errors.Join(err, endAll([]*child{asker}))
		}
		err = errors.Join(err, f.close())
	}()
	if err != nil {
		return r, err
	}
	addresses, err := f.apis()
	if err != nil {
		return r, err
	}
	if asker, err = spawn("load", "load", 0); err != nil {
		return r, err
	}
	now := time.Now()
	l := loadConfig{Addresses: addresses, Workers: c.Workers, Rate: c.Rate}
	for n := range 1000 {
		l.Tokens = append(l.Tokens, mint(statementKey("good", n), now))
	}
	if err := asker.call("run", l, nil); err != nil {
		return r, err
	}
	mark := func(wait time.Duration, into *loadResult) error {
		time.Sleep(wait)
		err := asker.call("mark", struct{}{}, into)
		r.Again += into.Failed
		for status, n := range into.Status {
			if status != http.StatusOK {
				r.Again += n
			}
		}
		return err
	}
	var warm loadResult
	if err := errors.Join(mark(c.Calm/2, &warm), mark(c.Calm, &r.Before), f.arm("storm", c.Statements)); err != nil {
		return r, err
	}
	if err := asker.call("mark", struct{}{}, &warm); err != nil {
		return r, err
	}
	if err := r.storm(ctx, f); err != nil {
		return r, err
	}
	if err := errors.Join(mark(0, &r.During), mark(c.Calm, &r.After)); err != nil {
		return r, err
	}
	return r, r.present(ctx, addresses, now)
}

// apis starts a process for each node, with a handler behind its middleware.
func (f *fleet) apis() (addresses []string, err error) {
	for i := range f.Nodes {
		c, err := spawn(fmt.Sprintf("api-%d", i), "nodes", 0)
		if err != nil {
			return nil, err
		}
		f.nodes = append(f.nodes, c)
		conf := nodesConfig{URL: f.urls[0], Kind: kindFeed, Prefix: fmt.Sprintf("api-%d", i), Count: 1, Memo: 16 << 20}
		if err := c.call("add", conf, nil); err != nil {
			return nil, err
		}
		var address string
		if err := c.call("listen", struct{}{}, &address); err != nil {
			return nil, err
		}
		addresses = append(addresses, address)
	}
	return addresses, nil
}

// storm revokes, and returns when everything is enforced everywhere.
func (r *stormResult) storm(ctx context.Context, f *fleet) error {
	m, err := f.meter()
	if err != nil {
		return err
	}
	rs := make([]events.Revocation, r.Statements)
	began := time.Now()
	for n := range rs {
		rs[n] = revocation("storm", n)
		rs[n].ID = statementID("storm", n, began)
	}
	if _, err := f.pub.PublishAll(ctx, rs, nil); err != nil {
		return err
	}
	r.Acked = time.Since(began)
	got, err := f.collect("storm", r.Statements, f.patience)
	if err != nil {
		return err
	}
	r.Lost, r.Unenforced = f.result.Lost, f.result.Unenforced
	r.Each = got.each()
	r.Enforced = r.Each.Max
	server, nodes, _, err := m.end()
	r.CPU = server + nodes
	return err
}

// present shows covered tokens to every node: each must be refused.
func (r *stormResult) present(ctx context.Context, addresses []string, now time.Time) error {
	client := &http.Client{Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	for n := 0; n < r.Statements; n += max(r.Statements/200, 1) {
		token := mint(statementKey("storm", n), now)
		for _, a := range addresses {
			status, err := ask(ctx, client, a, token)
			if err != nil {
				return err
			}
			r.Doomed++
			if status == http.StatusUnauthorized {
				r.Refused++
			}
		}
	}
	return nil
}
