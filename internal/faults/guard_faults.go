package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// brief is the life of a certificate that is to expire under a connection.
const brief = 2 * time.Second

// expireNodes lets the certificates of some nodes expire while they are connected, and
// then breaks their connections. At the end they get new ones.
func expireNodes(ctx context.Context, w *world) (grip, error) {
	var some []*node
	for _, n := range w.nodes {
		if n.Name == "deny-1" || n.Name == "allow-1" {
			some = append(some, n)
		}
	}
	renew := func(context.Context) error {
		return errors.Join(w.guard.certify("deny-1", time.Hour), w.guard.certify("allow-1", time.Hour))
	}
	for _, n := range some {
		if err := w.expireUnder(ctx, n); err != nil {
			return grip{}, errors.Join(err, renew(ctx))
		}
		_ = eachLink(n.links, (*link).drop) // has no error
	}
	return grip{
		felt: func(ctx context.Context) (string, error) { return w.shutOut(ctx, "certificate", "deny-1", "allow-1") },
		end:  renew,
	}, nil
}

// expireUnder lets a node's certificate expire under a connection that was made with it, which must stand. On a machine that takes
// longer than the certificate lives to connect, or loses the connection meanwhile, it tries again with one that lives longer.
func (w *world) expireUnder(ctx context.Context, n *node) error {
	var lost error
	for life := brief; life < longPatience; life *= 2 {
		dropped := time.Now()
		if err := w.guard.certify(n.Name, life); err != nil {
			return err
		}
		_ = eachLink(n.links, (*link).drop) // it connects again with this one; has no error
		lctx, cancel := context.WithDeadline(ctx, dropped.Add(life))
		err := poll(lctx, 20*time.Millisecond, func() error { return w.connected(lctx, n.Name, dropped) })
		cancel()
		if err != nil {
			continue
		}
		expired := dropped.Add(life + time.Second) // an instant in a certificate is a whole second
		pause(ctx, time.Until(expired))
		pctx, cancel := w.patient(ctx)
		err = poll(pctx, 50*time.Millisecond, func() error {
			err := n.well(pctx, expired)
			if lost = w.connected(ctx, n.Name, dropped); lost != nil {
				return nil // it does not come back with this one
			}
			return err
		})
		cancel()
		if lost == nil {
			return err
		}
	}
	if lost != nil {
		return fmt.Errorf("a certificate that expires disturbs a connection: %w", lost)
	}
	return fmt.Errorf("%s does not connect again with a new certificate", n.Name)
}

// connected wants a node to have a connection that was made after an instant.
func (w *world) connected(ctx context.Context, name string, after time.Time) error {
	all, err := w.clients(ctx)
	for _, c := range all {
		if c.Subscriptions > 0 && c.Name == "faults-"+name && c.Start.After(after) {
			return nil
		}
	}
	return errors.Join(err, fmt.Errorf("%s is not connected", name))
}

// shutOut wants the server to have no connection of some, and the nodes among them that deny to name the cause.
func (w *world) shutOut(ctx context.Context, cause string, names ...string) (string, error) {
	if err := w.absent(ctx, names); err != nil {
		return "", err
	}
	text := fmt.Sprintf("no connection of %s", strings.Join(names, ", "))
	for _, n := range w.nodes {
		if slices.Contains(names, n.Name) && !n.Allow {
			if err := n.told(ctx, cause); err != nil {
				return "", err
			}
			text = fmt.Sprintf("%s, %s names %q", text, n.Name, cause)
		}
	}
	return text, nil
}

// expireServer does the same to the server: nobody gets in any more.
func expireServer(ctx context.Context, w *world) (grip, error) {
	if err := w.guard.certify("server", brief, "127.0.0.1"); err != nil {
		return grip{}, err
	}
	if err := w.guard.reload(w); err != nil {
		return grip{}, err
	}
	pause(ctx, brief+time.Second)
	for _, k := range w.links {
		k.drop()
	}
	return grip{
		felt: func(ctx context.Context) (string, error) {
			return w.shutOut(ctx, "renew it at the server", w.guard.others()...)
		},
		end: func(context.Context) error {
			return errors.Join(w.guard.certify("server", time.Hour, "127.0.0.1"), w.guard.reload(w))
		},
	}, nil
}

// absent wants the server to have no connection of some. One that tries is there for a moment, and subscribes to nothing.
func (w *world) absent(ctx context.Context, names []string) error {
	all, err := w.clients(ctx)
	for _, c := range all {
		for _, name := range names {
			if c.Subscriptions > 0 && (c.Name == "faults-"+name || c.Name == "quash-issuer" && name == "issuer-1") {
				err = fmt.Errorf("%s is connected: %+v", name, c)
			}
		}
	}
	return err
}

// takeUsers has the server forget the nkeys of some, who lose their connections at once, and
// know them again at the end.
func takeUsers(names ...string) begin {
	return func(_ context.Context, w *world) (grip, error) {
		if err := w.guard.take(w, names...); err != nil {
			return grip{}, err
		}
		return grip{
			felt: func(ctx context.Context) (string, error) {
				return w.shutOut(ctx, "does not accept this user", names...)
			},
			end: func(context.Context) error { return w.guard.take(w) },
		}, nil
	}
}

// changeSeeds gives everybody but the driver a new nkey, the files first.
func changeSeeds(_ context.Context, w *world) (grip, error) {
	began := time.Now()
	if err := w.guard.admit(w.guard.others()...); err != nil {
		return grip{}, err
	}
	if err := w.guard.reload(w); err != nil {
		return grip{}, err
	}
	return grip{
		felt: func(ctx context.Context) (string, error) {
			all, err := w.clients(ctx)
			for _, c := range all {
				if c.Start.Before(began) || !w.guard.knows(c.User) {
					return "", fmt.Errorf("%s is still connected with what it had before", c.Name)
				}
			}
			if err != nil || len(all) == 0 {
				return "", fmt.Errorf("%d connections: %w", len(all), err)
			}
			return fmt.Sprintf("%d connected anew, with new nkeys", len(all)), nil
		},
		end: func(context.Context) error { return nil },
	}, nil
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
func guarded(ctx context.Context, bin binaries, faults []fault, whole bool, said func(string, ...any)) (r *result, err error) {
	bin.before, bin.slow = nil, ""
	w, err := newWorld(bin, said)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	w.whole = whole
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
	before := w.census(ctx)
	r = &result{}
	for _, f := range faults {
		r.episodes = append(r.episodes, w.run(ctx, f))
	}
	last := w.last(ctx, before, r)
	last.name = "bus: everything once more at the end"
	r.episodes = append(r.episodes, last)
	return r, ctx.Err()
}
