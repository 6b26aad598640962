package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// brief is the life of a certificate that is to expire under a connection. An instant in a
// certificate is a whole second.
const brief = 2 * time.Second

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// expireNodes lets the certificates of some nodes expire while they are connected, and
// then breaks their connections. At the end they get new ones.
func expireNodes(ctx context.Context, w *world) (end, error) {
	var some []*node
	for _, n := range w.nodes {
		if n.Name == "deny-1" || n.Name == "allow-1" {
			some = append(some, n)
		}
	}
	for _, n := range some {
		if err := w.guard.certify(n.Name, brief); err != nil {
			return nil, err
		}
		_ = eachLink(n.links, (*link).drop) // it connects again with this one; has no error
	}
	pause(ctx, brief+time.Second)
	for _, n := range some { // it stands although it has expired
		if err := n.well(ctx, time.Now().Add(-time.Second)); err != nil {
			return nil, fmt.Errorf("a certificate that expires disturbs a connection: %w", err)
		}
		_ = eachLink(n.links, (*link).drop)
	}
	return func(ctx context.Context) error {
		var errs []error
		for _, n := range some {
			if !n.Allow {
				errs = append(errs, n.told(ctx, "certificate"))
			}
			errs = append(errs, w.guard.certify(n.Name, time.Hour))
		}
		return errors.Join(errs...)
	}, nil
}

// expireServer does the same to the server: nobody gets in any more.
func expireServer(ctx context.Context, w *world) (end, error) {
	if err := w.guard.certify("server", brief, "127.0.0.1"); err != nil {
		return nil, err
	}
	if err := w.guard.reload(w); err != nil {
		return nil, err
	}
	pause(ctx, brief+time.Second)
	for _, k := range w.links {
		k.drop()
	}
	return func(ctx context.Context) error {
		var errs []error
		for _, n := range w.nodes {
			if !n.Allow {
				errs = append(errs, n.told(ctx, "renew it at the server"))
			}
		}
		return errors.Join(append(errs, w.guard.certify("server", time.Hour, "127.0.0.1"), w.guard.reload(w))...)
	}, nil
}

// takeUsers has the server forget the nkeys of some, who lose their connections at once, and
// know them again at the end.
func takeUsers(names ...string) func(context.Context, *world) (end, error) {
	return func(_ context.Context, w *world) (end, error) {
		if err := w.guard.take(w, names...); err != nil {
			return nil, err
		}
		return func(ctx context.Context) error {
			var errs []error
			for _, n := range w.nodes {
				for _, name := range names {
					if n.Name == name && !n.Allow {
						errs = append(errs, n.told(ctx, "does not accept this user"))
					}
				}
			}
			return errors.Join(append(errs, w.guard.take(w))...)
		}, nil
	}
}

// changeSeeds gives everybody but the driver a new nkey, the files first.
func changeSeeds(_ context.Context, w *world) (end, error) {
	if err := w.guard.admit("issuer-1", "deny-1", "deny-2", "allow-1", "allow-2", "publisher-0", "publisher-1"); err != nil {
		return nil, err
	}
	return none, w.guard.reload(w)
}

var guardFaults = []fault{
	{name: "bus: users of nodes taken away and given back", short: true, hold: 6 * time.Second, begin: takeUsers("deny-1", "allow-1")},
	{name: "bus: users of the issuer and the publishers taken away and given back", hold: 6 * time.Second, begin: takeUsers("issuer-1", "publisher-0", "publisher-1")},
	{name: "bus: everybody's seed changed", hold: 2 * time.Second, begin: changeSeeds},
	{name: "bus: certificates of nodes expire while connected", short: true, hold: 6 * time.Second, begin: expireNodes},
	{name: "bus: certificate of the server expires while connected", hold: 8 * time.Second, begin: expireServer},
}

// guarded runs those faults in a world of their own: a server with mutual TLS and nkeys,
// an issuer, four nodes and two publishers.
func guarded(ctx context.Context, bin binaries, faults []fault, said func(string, ...any)) (r *result, err error) {
	bin.before, bin.slow = nil, ""
	w, err := newWorld(bin, said)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if w.guard, err = newGuard(w.dir + "/bus"); err != nil {
		return nil, err
	}
	if err := w.build(ctx, 1, 1); err != nil {
		return nil, err
	}
	for _, c := range []nodeConfig{{Name: "deny-1"}, {Name: "deny-2", Snapshot: "snapshot-deny-2"}, {Name: "allow-1", Allow: true}, {Name: "allow-2", Allow: true}} {
		c.Bound = bound
		if err := w.addNode(c); err != nil {
			return nil, err
		}
	}
	if err := w.begin(ctx, 2); err != nil {
		return nil, err
	}
	w.heal(ctx)
	w.settle(ctx, 0)
	if v := w.judge.harvest(); len(v.found) > 0 {
		return nil, fmt.Errorf("the guarded world is not well before the first fault: %v at %s: %s", v.found[0].invariant, v.found[0].node, v.found[0].what)
	}
	before := w.vitals(ctx)
	r = &result{}
	for _, f := range faults {
		r.episodes = append(r.episodes, w.run(ctx, f))
	}
	last := w.last(ctx, before, r)
	last.name = "bus: everything once more at the end"
	r.episodes = append(r.episodes, last)
	return r, ctx.Err()
}
