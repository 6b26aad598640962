package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/ports"
)

// server is one nats-server of the cluster.
type server struct {
	*process
	address string
	routes  []*link // from it to the others
	dir     string
	disk    string  // holds how slow its disk is; not there: as the machine's
	clients []*link // of everybody, to it
	monitor string  // where it says what it holds
}

// startServers runs n servers, routed to each other through links.
func (w *world) startServers(n int) error {
	if w.guard != nil {
		return w.guard.start(w)
	}
	var clients, routes []string
	for range n {
		c, err := ports.Address()
		if err != nil {
			return err
		}
		r, err := ports.Address()
		if err != nil {
			return err
		}
		clients, routes = append(clients, c), append(routes, r)
	}
	for i := range n {
		s := &server{address: clients[i], dir: filepath.Join(w.dir, fmt.Sprintf("nats-%d", i))}
		args := []string{w.first().natsd, "-dir", s.dir, "-port", port(clients[i])}
		if n > 1 {
			var to []string
			for j := range n {
				if j == i {
					s.routes = append(s.routes, nil)
					continue
				}
				k, err := newLink(routes[j])
				if err != nil {
					return err
				}
				w.links = append(w.links, k)
				s.routes = append(s.routes, k)
				to = append(to, k.address())
			}
			args = append(args, "-name", fmt.Sprintf("nats-%d", i), "-cluster-port", port(routes[i]), "-routes", strings.Join(to, ","))
		}
		s.disk = filepath.Join(w.dir, fmt.Sprintf("disk-%d", i))
		s.process = &process{name: fmt.Sprintf("nats-%d", i), args: args, env: []string{"QUASH_FAULTS_DISK=" + s.disk}}
		if err := s.monitored(); err != nil {
			return err
		}
		w.servers = append(w.servers, s)
		if err := os.MkdirAll(s.dir, 0o700); err != nil {
			return err
		}
	}
	if w.whole {
		if err := w.smallDisk(w.servers[n-1].dir); err != nil {
			w.said("%v", err)
		}
	}
	for _, s := range w.servers {
		if err := s.start(); err != nil {
			return err
		}
	}
	return nil
}

func port(address string) string {
	_, p, _ := net.SplitHostPort(address) // of our own making
	return p
}

// bus gives somebody links to every server, and the URL to use.
func (w *world) bus() (links []*link, url string, err error) {
	var urls []string
	for _, s := range w.servers {
		k, err := newLink(s.address)
		if err != nil {
			return nil, "", err
		}
		w.links, s.clients = append(w.links, k), append(s.clients, k)
		links, urls = append(links, k), append(urls, "nats://"+k.address())
	}
	return links, strings.Join(urls, ","), nil
}

// open connects the driver itself, past all links, and creates the stream.
func (w *world) open(ctx context.Context) error {
	var urls []string
	for _, s := range w.servers {
		urls = append(urls, "nats://"+s.address)
	}
	var err error
	if w.conn, err = events.Connect(w.guard.config(events.ConnectConfig{URL: strings.Join(urls, ","), Name: driverName}, "driver")); err != nil {
		return err
	}
	if w.js, err = jetstream.New(w.conn, jetstream.WithDefaultTimeout(2*time.Second)); err != nil {
		return err
	}
	return w.ensure(ctx)
}

// ensure creates the stream, as an operator does, as soon as there is a quorum.
func (w *world) ensure(ctx context.Context) error {
	return poll(ctx, 50*time.Millisecond, func() error {
		for _, s := range w.servers {
			if err := s.err(); err != nil {
				return err
			}
		}
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err := events.EnsureStream(ctx, w.js, events.Layout{Replicas: len(w.servers), MaxBytes: streamBytes,
			Retention: events.Retention{MaxTokenLife: maxTokenLife}})
		return err
	})
}

// driverName is the name of the driver's own connection.
const driverName = "faults-driver"

const streamBytes = 64 << 20

// roles says which server leads the stream, and which do not.
func (w *world) roles(ctx context.Context) (leader *server, others []*server, err error) {
	err = poll(ctx, 100*time.Millisecond, func() error {
		name := ""
		if len(w.servers) == 1 {
			name = w.servers[0].name
		} else if s, err := w.js.Stream(ctx, events.StreamName); err != nil {
			return err
		} else if info := s.CachedInfo(); info.Cluster != nil {
			name = info.Cluster.Leader
		}
		leader, others = nil, nil
		for _, s := range w.servers {
			if s.name == name {
				leader = s
			} else {
				others = append(others, s)
			}
		}
		if leader == nil {
			return errors.New("the stream has no leader")
		}
		return nil
	})
	return leader, others, err
}

// routes are all links between a server and the other servers.
func (w *world) routes(s *server) (all []*link) {
	for i, other := range w.servers {
		for j, k := range other.routes {
			if k != nil && (w.servers[i] == s || w.servers[j] == s) {
				all = append(all, k)
			}
		}
	}
	return all
}

// poll asks until the answer is nil, or that somebody has ended.
func poll(ctx context.Context, every time.Duration, ask func() error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last error
	for {
		err := ask()
		if err == nil || errors.Is(err, errEnded) {
			return err
		}
		if last != nil && ctx.Err() != nil {
			err = last // it says more than that there was no time left
		}
		last = err
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain: %w", err)
		case <-tick.C:
		}
	}
}

// consumers is what is left on the stream, with what tells whose it is.
func (w *world) consumers(ctx context.Context) (left []string, err error) {
	s, err := w.js.Stream(ctx, events.StreamName)
	if err != nil {
		return nil, err
	}
	n := s.CachedInfo().State.Consumers
	if n == 0 {
		return nil, nil
	}
	list := s.ListConsumers(ctx)
	for c := range list.Info() {
		at := "one server"
		if c.Cluster != nil {
			at = c.Cluster.Leader
		}
		left = append(left, fmt.Sprintf("%s at %q, created %s, %d requests waiting, %d delivered", c.Name, at, stamp(c.Created), c.NumWaiting, c.Delivered.Consumer))
	}
	for len(left) < n {
		left = append(left, "one that answers nothing")
	}
	return left, nil
}
