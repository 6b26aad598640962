package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/ports"
)

// Topologies.
const (
	topoOne   = "one"   // one server
	topoThree = "three" // a cluster of three
	topoLeaf  = "leaf"  // one server, and two leaf nodes to which all followers connect
)

// bus is a number of servers and a connection to publish over.
type bus struct {
	servers []*child // those that hold the stream
	leaves  []*child
	confs   []serverConfig // of servers
	urls    []string       // for followers: all of them, or one leaf each
	dir     string
	conn    *nats.Conn
	js      jetstream.JetStream
	pub     *events.Publisher
}

// busConfig says which servers to start.
type busConfig struct {
	Topology string
	Dir      string // of the stores; it stays. Empty: a temporary one
	Bytes    int64  // of the stream. 0: 1 GiB
	Relax    bool
	Many     bool // see serverConfig
}

func startBus(ctx context.Context, c busConfig) (_ *bus, err error) {
	b := &bus{}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	dir := c.Dir
	if dir == "" {
		if b.dir, err = os.MkdirTemp("", "quash-scale-"); err != nil {
			return b, err
		}
		dir = b.dir
	}
	n, leaves := 1, 0
	switch c.Topology {
	case topoOne:
	case topoThree:
		n = 3
	case topoLeaf:
		leaves = 2
	default:
		return b, fmt.Errorf("no topology is called %q", c.Topology)
	}
	ports, err := ports.Take(2*n + 1 + leaves)
	if err != nil {
		return b, err
	}
	var routes, urls []string
	for i := range n {
		routes = append(routes, fmt.Sprintf("127.0.0.1:%d", ports[n+i]))
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", ports[i]))
	}
	for i := range n {
		conf := serverConfig{Name: fmt.Sprintf("hub-%d", i), Dir: filepath.Join(dir, fmt.Sprintf("hub-%d", i)), Port: ports[i], Relax: c.Relax, Many: c.Many}
		if n > 1 {
			conf.Route, conf.Routes = ports[n+i], routes
		}
		if leaves > 0 {
			conf.Leaf = ports[2*n]
		}
		if err := b.serve(conf, &b.servers); err != nil {
			return b, err
		}
		b.confs = append(b.confs, conf)
	}
	if b.urls = []string{strings.Join(urls, ",")}; leaves > 0 {
		b.urls = nil
	}
	for i := range leaves {
		port := ports[2*n+1+i]
		conf := serverConfig{Name: fmt.Sprintf("leaf-%d", i), Port: port, Hub: []string{fmt.Sprintf("127.0.0.1:%d", ports[2*n])}}
		if err := b.serve(conf, &b.leaves); err != nil {
			return b, err
		}
		b.urls = append(b.urls, fmt.Sprintf("nats://127.0.0.1:%d", port))
	}
	for _, s := range append(append([]*child(nil), b.servers...), b.leaves...) {
		if err := s.call("sync", n, nil); err != nil {
			return b, err
		}
	}
	return b, b.open(ctx, strings.Join(urls, ","), events.Layout{Replicas: n, MaxBytes: c.Bytes, Retention: events.Retention{MaxTokenLife: maxTokenLife}})
}

func (b *bus) serve(conf serverConfig, into *[]*child) error {
	s, err := spawn(conf.Name, "server", 0)
	if err != nil {
		return err
	}
	*into = append(*into, s)
	return s.call("start", conf, nil)
}

// open connects the driver and creates the stream, as soon as there is a leader.
func (b *bus) open(ctx context.Context, url string, l events.Layout) error {
	var err error
	if b.conn, err = events.Connect(events.ConnectConfig{URL: url, Name: "driver"}); err != nil {
		return err
	}
	if b.js, err = jetstream.New(b.conn, jetstream.WithDefaultTimeout(5*time.Second)); err != nil {
		return err
	}
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		_, err = events.EnsureStream(ctx, b.js, l)
		if err == nil || l.Replicas == 1 && errors.Is(err, events.ErrFull) || time.Now().After(end) { // others may still join a cluster
			break
		}
	}
	if err != nil {
		return err
	}
	b.pub, err = events.NewPublisher(events.PublisherConfig{Conn: b.conn})
	return err
}

func (b *bus) all() []*child { return append(append([]*child(nil), b.servers...), b.leaves...) }

// restart kills the server, when it stands alone, and starts it again.
func (b *bus) restart() error {
	b.servers[0].kill()
	b.servers = b.servers[:0]
	return b.serve(b.confs[0], &b.servers)
}

func (b *bus) close() error {
	if b.conn != nil {
		b.conn.Close()
	}
	err := endAll(b.all())
	b.servers, b.leaves = nil, nil // who closes twice ends them once
	if b.dir != "" {
		err = errors.Join(err, os.RemoveAll(b.dir))
	}
	return err
}
