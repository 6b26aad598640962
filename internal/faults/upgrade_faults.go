package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quash-auth/quash/events"
)

// upgrade replaces what the world began with by the programs of today, one process
// after another, as an operator does: the servers, the issuers, the nodes. Each is
// killed, which is more than an operator does.
func upgrade(ctx context.Context, w *world) (end, error) {
	if w.bin.before == nil {
		return nil, errors.New("there are no older versions here: building them takes this repository's history and the module proxy")
	}
	today := w.bin.now()
	w.said("  from %s", w.bin.before.names)
	for _, s := range w.servers {
		if err := s.become(today.natsd); err != nil {
			return nil, err
		}
		if err := w.replicated(ctx); err != nil {
			return nil, fmt.Errorf("after %s: %w", s.name, err)
		}
	}
	if v := w.conn.ConnectedServerVersion(); v == beforeNATS[1:] {
		return nil, fmt.Errorf("a server is still of version %s", v)
	}
	for _, r := range w.issuers {
		if err := r.become(today.quash); err != nil {
			return nil, err
		}
		pctx, cancel := w.patient(ctx)
		err := poll(pctx, 50*time.Millisecond, func() error { return r.ready(pctx) })
		cancel()
		if err != nil {
			return nil, fmt.Errorf("after %s: %w", r.name, err)
		}
	}
	for _, n := range w.nodes {
		if err := n.become(today.self); err != nil {
			return nil, err
		}
		pctx, cancel := w.patient(ctx)
		err := poll(pctx, 50*time.Millisecond, func() error { return n.well(pctx, time.Now().Add(-n.Bound)) })
		cancel()
		if err != nil {
			return nil, err
		}
	}
	return none, nil
}

// become restarts a process as another program.
func (p *process) become(program string) error {
	p.kill()
	p.args[0] = program
	return p.start()
}

// replicated waits until the stream has a leader and every other server is up to date.
func (w *world) replicated(ctx context.Context) error {
	ctx, cancel := w.patient(ctx)
	defer cancel()
	return poll(ctx, 200*time.Millisecond, func() error {
		s, err := w.js.Stream(ctx, events.StreamName)
		if err != nil {
			return err
		}
		c := s.CachedInfo().Cluster
		if c == nil || c.Leader == "" || len(c.Replicas) != len(w.servers)-1 {
			return errors.New("the stream has no leader")
		}
		for _, r := range c.Replicas {
			if !r.Current || r.Offline {
				return fmt.Errorf("%s is not up to date", r.Name)
			}
		}
		return nil
	})
}

var upgradeFaults = []fault{
	{name: "servers, issuers and nodes upgraded in turn", needs: oldVersions, begin: upgrade},
}
