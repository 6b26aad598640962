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
func upgrade(ctx context.Context, w *world) (grip, error) {
	if w.bin.before == nil {
		return grip{}, errors.New("there are no older versions here: building them takes this repository's history and the module proxy")
	}
	today := w.bin.now()
	w.said("  from %s", w.bin.before.names)
	now := ""
	for _, s := range w.servers {
		v, err := s.version(ctx)
		if err != nil || v != beforeNATS[1:] {
			return grip{}, fmt.Errorf("%s is of version %s before it is upgraded from %s: %w", s.name, v, beforeNATS, err)
		}
		if err := s.become(today.natsd); err != nil {
			return grip{}, err
		}
		if now, err = w.another(ctx, s, v); err != nil {
			return grip{}, err
		}
		if err := w.replicated(ctx); err != nil {
			return grip{}, fmt.Errorf("after %s: %w", s.name, err)
		}
	}
	for _, r := range w.issuers {
		if err := r.become(today.quash); err != nil {
			return grip{}, err
		}
		pctx, cancel := w.patient(ctx)
		err := poll(pctx, 50*time.Millisecond, func() error { return r.ready(pctx) })
		cancel()
		if err != nil {
			return grip{}, fmt.Errorf("after %s: %w", r.name, err)
		}
	}
	for _, n := range w.nodes {
		if err := n.become(today.self); err != nil {
			return grip{}, err
		}
		pctx, cancel := w.patient(ctx)
		err := poll(pctx, 50*time.Millisecond, func() error { return n.well(pctx, time.Now().Add(-n.Bound)) })
		cancel()
		if err != nil {
			return grip{}, err
		}
	}
	return over("servers %s → %s; issuers and nodes from commit %.7s to today's", beforeNATS[1:], now, beforeCommit), nil
}

// become restarts a process as another program.
func (p *process) become(program string) error {
	if p.args[0] == program {
		return fmt.Errorf("%s runs as %s before it is upgraded to it", p.name, program)
	}
	if err := p.shoot(); err != nil {
		return err
	}
	p.args[0] = program
	return p.start()
}

// another waits until a server says that it is of another version.
func (w *world) another(ctx context.Context, s *server, than string) (v string, err error) {
	ctx, cancel := w.patient(ctx)
	defer cancel()
	return v, poll(ctx, 50*time.Millisecond, func() error {
		if v, err = s.version(ctx); err == nil && v == than {
			err = fmt.Errorf("%s is still of version %s", s.name, v)
		}
		return err
	})
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
