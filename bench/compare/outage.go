package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// answer is a status that was given from some time on.
type answer struct {
	status  int // 0: none within five seconds
	since   time.Duration
	slowest time.Duration // answer of that status
	count   int
}

// outcome is what one contender answered while its store was dead, and after it came back.
type outcome struct {
	name                   string
	revoked, good          []answer
	revokedLater, newLater []answer
}

const step = 20 * time.Millisecond

// record asks with one token again and again until ctx ends.
func record(ctx context.Context, c *contender, raw string) (seen []answer) {
	start := time.Now()
	tick := time.NewTicker(step)
	defer tick.Stop()
	for ctx.Err() == nil {
		at := time.Now()
		status := askOnce(c, raw, 5*time.Second)
		took := time.Since(at)
		if n := len(seen); n == 0 || seen[n-1].status != status {
			since := at.Sub(start)
			if n == 0 {
				since = 0
			}
			seen = append(seen, answer{status: status, since: since})
		}
		last := &seen[len(seen)-1]
		last.count++
		last.slowest = max(last.slowest, took)
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return seen
}

// outage kills every store at once, asks all contenders with a revoked and a good token meanwhile, and again after the
// stores are back.
func (w *world) outage(ctx context.Context) ([]outcome, error) {
	stores := []*process{w.redis, w.postgres, w.issuer, w.nats, w.oracle}
	var hit []*contender
	for _, c := range w.contenders {
		if len(c.stores) > 0 {
			hit = append(hit, c)
		}
	}
	out := make([]outcome, len(hit))
	// watch asks for so long; what it sees goes where into says.
	watch := func(d time.Duration, into func(o *outcome) (revoked, good *[]answer)) {
		tctx, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		var wg sync.WaitGroup
		for i, c := range hit {
			out[i].name = c.name
			revoked, good := into(&out[i])
			wg.Go(func() { *revoked = record(tctx, c, c.revoked) })
			wg.Go(func() { *good = record(tctx, c, w.tokens[0]) })
		}
		wg.Wait()
	}
	for _, p := range stores {
		p.kill()
	}
	watch(w.plan.outage, func(o *outcome) (*[]answer, *[]answer) { return &o.revoked, &o.good })
	for _, p := range []*process{w.redis, w.postgres, w.nats, w.issuer} {
		if err := p.start(); err != nil {
			return nil, fmt.Errorf("after it was killed: %w", err)
		}
	}
	// The bare introspection handler remembers nothing and would be another one: it stays dead.
	watch(10*time.Second, func(o *outcome) (*[]answer, *[]answer) { return &o.revokedLater, &o.newLater })
	return out, ctx.Err()
}

// restarts kills every contender's own process and starts it again: what is a revoked token told first, and when is a
// good one served?
func (w *world) restarts(ctx context.Context) (err error) {
	if w.database, err = pgx.Connect(ctx, w.dbURL); err != nil { // the other connection died with its server
		return err
	}
	for _, c := range w.contenders {
		if c.revoke == nil || c.name == bareIntrospection {
			continue
		}
		c.revoked = c.fresh[0]
		if err := c.revoke(ctx, c.revoked); err != nil {
			return fmt.Errorf("%s: revoke: %w", c.name, err)
		}
		if err := w.waitFor(c, c.revoked, 401, patience); err != nil {
			return err
		}
		c.node.kill()
		start := time.Now()
		if err := c.node.start(); err != nil {
			return err
		}
		tctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		up := time.Since(start)
		c.restart = record(tctx, c, c.revoked)
		cancel()
		for i := range c.restart {
			c.restart[i].since += up
		}
	}
	return nil
}
