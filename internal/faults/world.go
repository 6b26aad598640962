package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/internal/ports"
)

// world is everything that runs.
type world struct {
	bin     binaries
	dir     string
	mounted string // a small disk; empty: there is none
	servers []*server
	issuers []*replica
	nodes   []*node
	links   []*link
	conn    *nats.Conn // of the driver itself
	js      jetstream.JetStream

	guard *guard // nil: everybody gets in

	minter *minter
	ledger *ledger
	judge  *judge
	canary *canary
	said   func(format string, args ...any) // progress, for people

	hopeless []string // those of whom it is known that they will not heal, lest a test wait for them
	whole    bool     // not the short form

	issuerURL, jwks, keys string

	between sync.RWMutex // held for reading while somebody revokes
	visits  sync.Mutex   // held by whoever logs in and out
	stop    context.CancelFunc
	tasks   sync.WaitGroup

	publishers int
}

// node is one API.
type node struct {
	nodeConfig
	*process
	links  []*link
	client *http.Client
	skewed atomic.Bool // its clock is or was wrong, and it has not healed yet
	lost   atomic.Bool // it did not heal
}

func newWorld(bin binaries, said func(string, ...any)) (*world, error) {
	m, err := newMinter()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "quash-faults-")
	if err != nil {
		return nil, err
	}
	w := &world{bin: bin, dir: dir, minter: m, ledger: &ledger{}, said: said}
	w.judge = &judge{say: said}
	if w.canary, err = startCanary(bin.self); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return w, nil
}

// first are the programs that the world begins with.
func (w *world) first() versions {
	if w.bin.before != nil {
		return *w.bin.before
	}
	return w.bin.now()
}

// addNode starts a node with links of its own.
func (w *world) addNode(c nodeConfig) error {
	links, url, err := w.bus()
	if err != nil {
		return err
	}
	c.Bus = w.guard.config(c.Bus, c.Name)
	c.NATS, c.Key, c.Issuer, c.JWKS = url, w.minter.public, w.issuerURL, w.jwks
	if c.Listen, err = ports.Address(); err != nil {
		return err
	}
	if c.Control, err = ports.Address(); err != nil {
		return err
	}
	if c.Snapshot != "" {
		c.Snapshot = filepath.Join(w.dir, c.Snapshot)
	}
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	n := &node{nodeConfig: c, links: links, process: &process{name: c.Name, args: []string{w.first().self, "node", string(text)}}}
	// A connection for each probe, and no more that would be there: each costs the node goroutines.
	n.client = &http.Client{Timeout: 45 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: int(sorts)}}
	w.nodes = append(w.nodes, n)
	return n.start()
}

// addFleet starts the eight nodes of the programme: both policies, some with a
// snapshot, some that stay ready when they meet a statement they cannot read.
func (w *world) addFleet() error {
	for i := range 8 {
		c := nodeConfig{Name: fmt.Sprintf("deny-%d", i+1), Bound: bound}
		if i >= 4 {
			c.Name, c.Allow = fmt.Sprintf("allow-%d", i-3), true
		}
		if i%2 == 1 {
			c.Snapshot = "snapshot-" + c.Name
		}
		c.StayReady, c.Patient = i%4 >= 2, !w.whole
		if err := w.addNode(c); err != nil {
			return err
		}
	}
	return nil
}

// bound is MaxStaleness of every node.
const bound = 3 * time.Second

// begin starts the publishers and the probes.
func (w *world) begin(ctx context.Context, publishers int) error {
	ctx, w.stop = context.WithCancel(ctx)
	w.ledger.fill(w.minter)
	w.publishers = publishers
	for i := range publishers {
		if err := w.startPublisher(ctx, i); err != nil {
			return err
		}
	}
	if len(w.issuers) > 0 {
		w.tasks.Go(func() { w.people(ctx) })
	}
	for _, n := range w.nodes {
		w.startProbes(ctx, n)
	}
	return nil
}

// close ends everything, and says who had ended before.
func (w *world) close() error {
	var errs []error
	if w.stop != nil {
		w.stop()
	}
	var all []*process
	for _, n := range w.nodes {
		all = append(all, n.process)
		if text := n.said.String(); text != "" { // a panic in a handler, for example
			errs = append(errs, fmt.Errorf("%s printed: %s", n.Name, text))
		}
	}
	for _, r := range w.issuers {
		all = append(all, r.process)
	}
	for _, s := range w.servers {
		all = append(all, s.process)
	}
	for _, p := range all {
		errs = append(errs, p.err())
		p.kill()
	}
	w.tasks.Wait()
	w.canary.close()
	if w.conn != nil {
		w.conn.Close()
	}
	for _, k := range w.links {
		k.close()
	}
	for _, n := range w.nodes {
		n.client.CloseIdleConnections()
	}
	for _, r := range w.issuers {
		r.client.CloseIdleConnections()
	}
	errs = append(errs, w.unmount(), os.RemoveAll(w.dir))
	return errors.Join(errs...)
}
