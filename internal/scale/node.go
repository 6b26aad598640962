package main

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier"
)

const (
	issuerURL    = "https://issuer.example"
	audience     = "api"
	keyID        = "k1"
	maxTokenLife = 12 * time.Hour
)

// nodesConfig says which nodes a child is to start.
type nodesConfig struct {
	URL    string
	Kind   string
	Prefix string // of the names of connections
	Count  int
	Lose   int // of the first node: every so many-th statement of a phase. 0: none

	Snapshot string // file; empty: none
	Budget   int64  // bytes for details; 0: all are kept
	Memo     int64  // bytes for tokens seen; 0: none

	SlotWait time.Duration // as in events.SubscriberConfig
	Patience time.Duration // until a node must be ready. 0: readyPatience
}

// crowd is the child that runs nodes, each with a connection of its own.
type crowd struct {
	rec   recorder
	nodes []*node
	stop  context.CancelFunc
	ctx   context.Context
	wg    sync.WaitGroup
	watch watch
}

// node is what an API runs to enforce revocations.
type node struct {
	nc   *nats.Conn
	feed verifier.Feed
	v    *verifier.Verifier
}

func newCrowd() *crowd {
	c := &crowd{}
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c
}

func (c *crowd) handlers() handlers {
	return handlers{
		"add": handle(c.add), "arm": handle(c.arm), "collect": handle(c.collect), "fresh": handle(c.fresh), "status": handle(c.status),
		"listen": handle(c.listen), "missing": handle(c.missing), "entries": handle(c.entries), "watch": handle(c.startWatch), "watched": handle(c.endWatch),
	}
}

func (c *crowd) close() {
	c.stop()
	c.wg.Wait()
	for _, n := range c.nodes {
		n.nc.Close()
	}
}

// add starts nodes, all at once, and returns how long each took until it was ready.
func (c *crowd) add(conf nodesConfig) ([]time.Duration, error) {
	took := make([]time.Duration, conf.Count)
	errs := make([]error, conf.Count)
	first := len(c.nodes)
	c.nodes = append(c.nodes, make([]*node, conf.Count)...)
	var wg sync.WaitGroup
	for i := range conf.Count {
		wg.Go(func() {
			began := time.Now()
			if c.nodes[first+i], errs[i] = c.start(conf, first+i); errs[i] != nil {
				return
			}
			errs[i] = c.nodes[first+i].ready(c.ctx, cmp.Or(conf.Patience, readyPatience))
			took[i] = time.Since(began)
		})
	}
	wg.Wait()
	return took, errors.Join(errs...)
}

func (c *crowd) start(conf nodesConfig, i int) (*node, error) {
	n := &node{}
	var err error
	if n.nc, err = events.Connect(events.ConnectConfig{URL: conf.URL, Name: fmt.Sprintf("%s-%d", conf.Prefix, i)}); err != nil {
		return nil, err
	}
	if conf.Kind == kindBare {
		_, err := n.nc.Subscribe(events.LiveSubject, func(m *nats.Msg) {
			if r, err := events.Decode(m.Data); err == nil { // beacons are not statements
				c.rec.note(i, []events.Event{{Revocation: r}})
			}
		})
		return n, errors.Join(err, n.nc.Flush())
	}
	tap := &noted{note: func(b []events.Event) { c.rec.note(i, b) }}
	switch conf.Kind {
	case kindFeed:
		if tap.Feed, err = events.NewSubscriber(events.SubscriberConfig{Conn: n.nc, SlotWait: conf.SlotWait}); err != nil {
			return nil, err
		}
	case kindOrdered:
		tap.Feed = &ordered{nc: n.nc}
	default:
		return nil, fmt.Errorf("no kind of nodes is called %q", conf.Kind)
	}
	if conf.Lose > 0 && i == 0 {
		tap.lose = func(e events.Event) bool { return numberOf(e.Revocation.ID)%conf.Lose == conf.Lose-1 } // also when it is read again
	}
	n.feed = tap
	n.v, err = verifier.New(verifier.Config{
		Issuers: []verifier.Issuer{{Issuer: issuerURL, Audience: []string{audience}, Keys: []verifier.PublicKey{{ID: keyID, Key: publicKey()}}}},
		Feed:    tap, Node: fmt.Sprintf("%s-%d", conf.Prefix, i), MaxTokenLife: maxTokenLife,
		MemoBytes: conf.memo(), DetailBytes: conf.Budget, MaxEntries: 12_000_000, Snapshot: conf.Snapshot,
	})
	if err != nil {
		return nil, err
	}
	c.wg.Go(func() {
		if err := n.v.Run(c.ctx); err != nil {
			fmt.Fprintf(os.Stderr, "scale: node %d: %v\n", i, err) // it shows as lost statements, too
		}
	})
	if conf.Kind == kindFeed { // what else a node holds on the server
		r, err := events.NewResponder(events.ResponderConfig{Conn: n.nc, Node: fmt.Sprintf("%s-%d", conf.Prefix, i), Report: n.v.Report, WaitApplied: tap.WaitApplied})
		if err != nil {
			return nil, err
		}
		c.wg.Go(func() { _ = r.Run(c.ctx) }) // it ends with the context
	}
	return n, nil
}

func (c nodesConfig) memo() int64 {
	if c.Memo == 0 {
		return -1
	}
	return c.Memo
}

// publicKey is that of tokens nobody presents: what is asked for here are statements.
func publicKey() ed25519.PublicKey {
	return ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey)
}

func (n *node) ready(ctx context.Context, patience time.Duration) error {
	if n.v == nil {
		return nil
	}
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		err := n.v.Ready()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("not ready after %v: %w", patience, err)
		}
	}
}

// entries are those of the first node.
func (c *crowd) entries(struct{}) (int, error) { return c.nodes[0].v.Report().Entries, nil }

type phase struct {
	Phase    string
	Messages int
	Patience time.Duration
}

func (c *crowd) arm(p phase) (struct{}, error) {
	c.rec.arm(p.Phase, p.Messages, len(c.nodes))
	return struct{}{}, nil
}

func (c *crowd) collect(p phase) (record, error) { return c.rec.collect(p.Messages, p.Patience), nil }

// missing counts the statements of a phase that a node does not enforce, for all nodes
// together. Nodes that joined meanwhile have not been waited for: they get their time here.
func (c *crowd) missing(p phase) (int, error) {
	for end := time.Now().Add(p.Patience); ; time.Sleep(20 * time.Millisecond) {
		if n := c.unenforced(p); n == 0 || time.Now().After(end) {
			return n, nil
		}
	}
}

func (c *crowd) unenforced(p phase) (n int) {
	for _, node := range c.nodes {
		if node.v == nil {
			continue
		}
		for i := range p.Messages {
			if err := node.v.Revoked(verifier.Claims{Issuer: issuerURL, Session: statementKey(p.Phase, i)}); !errors.Is(err, verifier.ErrRevoked) {
				n++
			}
		}
	}
	return n
}

// fresh waits until the view of every node is newer than an instant, and returns how
// long after it that was.
func (c *crowd) fresh(since time.Time) ([]time.Duration, error) {
	took := make([]time.Duration, len(c.nodes))
	left := len(c.nodes)
	for end := time.Now().Add(patience); left > 0; time.Sleep(2 * time.Millisecond) {
		now := time.Now()
		for i, n := range c.nodes {
			if took[i] == 0 && n.feed.Freshness(now).AsOf.After(since) {
				took[i] = now.Sub(since)
				left--
			}
		}
		if now.After(end) {
			return nil, fmt.Errorf("%d of %d nodes are not fresh again after %v", left, len(c.nodes), now.Sub(since))
		}
	}
	return took, nil
}

// status adds up what the feeds count.
func (c *crowd) status(struct{}) (events.Status, error) {
	var sum events.Status
	for _, n := range c.nodes {
		if n.feed == nil {
			continue
		}
		st := n.feed.Status()
		sum.Gaps += st.Gaps
		sum.Rewinds += st.Rewinds
		sum.CatchUps += st.CatchUps
		sum.SlotWaits += st.SlotWaits
		sum.Reconnects += st.Reconnects
		sum.Forced += st.Forced
		sum.BeaconsSent += st.BeaconsSent
		sum.Events += st.Events
	}
	return sum, nil
}

// patience is a limit for broken runs, not something a healthy run waits for.
const patience = 3 * time.Minute

// readyPatience is how long a node may take to start, with all others at once.
const readyPatience = 250 * time.Second
