package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"github.com/quash-auth/quash/internal/ports"
	"github.com/quash-auth/quash/issuer"
	"github.com/quash-auth/quash/verifier"
)

// demoWorld is what the demo runs: everything real, on free ports of 127.0.0.1, in a
// temporary directory.
type demoWorld struct {
	dir          string
	size         int
	maxStaleness time.Duration
	log          *slog.Logger

	nats    *embedded
	issuer  *issuerRole
	listen  net.Listener // the issuer's
	tasks   []*task      // of the issuer
	creds   credentials
	members []*member
}

// member is one API node that can be stopped and rebuilt on its address.
type member struct {
	world   *demoWorld
	name    string
	address string
	node    *apiNode
	server  *task
	follow  *task
}

func newDemoWorld(dir string, nodes int, maxStaleness time.Duration, log *slog.Logger) *demoWorld {
	return &demoWorld{dir: dir, size: nodes, maxStaleness: maxStaleness, log: log}
}

func (w *demoWorld) open(ctx context.Context) error {
	address, err := ports.Address() // one that nobody takes while it is stopped
	if err != nil {
		return err
	}
	if w.nats, err = startNATS("NATS", address, filepath.Join(w.dir, "nats"), w.log); err != nil {
		return err
	}
	if w.listen, err = bind("issuer", "127.0.0.1:0"); err != nil {
		return err
	}
	w.creds = credentials{user: credential{"ada", randomPassword()}, admin: credential{"admin", randomPassword()}}
	conn, err := w.flags().connect("quash-demo-issuer", w.log)
	if err != nil {
		return err
	}
	w.issuer, err = newIssuerRole(conn, issuer.Config{
		Issuer:       w.issuerURL(),
		Audience:     []string{defaultAudience},
		EnsureStream: true,
		KeysDir:      filepath.Join(w.dir, "keys"),
		Node:         "issuer",
	}, demoUsers(w.creds), w.log)
	if err != nil {
		return err
	}
	w.issuer.nats = w.nats.url()
	if err := w.issuer.open(ctx); err != nil {
		return err
	}
	w.tasks = append(w.tasks, serveHTTP(w.listen, w.issuer.handler, w.log), start(w.issuer.run))
	for i := range w.size {
		m := &member{world: w, name: fmt.Sprintf("api-%d", i+1)}
		if m.address, err = ports.Address(); err != nil {
			return err
		}
		if err := m.start(); err != nil {
			return err
		}
		w.members = append(w.members, m)
	}
	return w.waitReady(ctx)
}

// start builds the node anew: its verifier remembers nothing.
func (m *member) start() error {
	l, err := bind(m.name, m.address)
	if err != nil {
		return err
	}
	conn, err := m.world.flags().connect("quash-demo-"+m.name, m.world.log)
	if err != nil {
		closeAll(l)
		return err
	}
	cfg := localNodeConfig(m.world.issuerURL(), m.name, m.world.maxStaleness)
	cfg.MemoBytes = 4 << 20 // many nodes share this process
	cfg.MaxEntries = 100_000
	node, err := newAPINode(conn, cfg, verifier.HTTPConfig{}, m.world.log)
	if err != nil {
		closeAll(l)
		return err
	}
	m.node = node
	m.follow = start(node.run)
	m.server = serveHTTP(l, node.handler, m.world.log)
	return nil
}

// stop ends server and verifier, as an API's own shutdown would.
func (m *member) stop() error {
	return errors.Join(m.server.stop(), m.follow.stop())
}

func (m *member) url() string { return "http://" + m.address + "/secure" }

func (w *demoWorld) waitReady(ctx context.Context) error {
	return poll(ctx, func() error {
		errs := []error{w.issuer.ready()}
		for _, m := range w.members {
			errs = append(errs, m.node.verifier.Ready())
		}
		return errors.Join(errs...)
	})
}

// poll asks until the answer is nil; the last answer comes with the error.
func poll(ctx context.Context, ask func() error) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up waiting: %w", err)
		case <-tick.C:
		}
	}
}

func (w *demoWorld) issuerURL() string { return "http://" + w.listen.Addr().String() }

func (w *demoWorld) flags() *natsFlags { return &natsFlags{NATS: w.nats.url()} }

// restartNATS starts a new server on the port and the store of the stopped one.
func (w *demoWorld) restartNATS() error {
	next, err := startNATS("NATS", w.nats.addr, filepath.Join(w.dir, "nats"), w.log)
	if err != nil {
		return err
	}
	w.nats = next
	return nil
}

// close ends everything in order: nodes, issuer, NATS.
func (w *demoWorld) close() {
	for _, m := range w.members {
		_ = m.stop() // the demo is over; its verdict stands
	}
	for _, t := range w.tasks {
		_ = t.stop()
	}
	if w.issuer != nil {
		w.issuer.close()
	}
	closeAll(w.listen)
	if w.nats != nil {
		w.nats.stop()
	}
}
