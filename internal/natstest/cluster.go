package natstest

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Cluster is a cluster of servers in this process, routed to each other.
type Cluster struct {
	Servers []*Server

	t testing.TB
}

// StartCluster runs n servers (usually three) until the test ends. It returns
// when the cluster has a JetStream leader and every server is in it.
func StartCluster(t testing.TB, n int, opts ...Option) *Cluster {
	t.Helper()
	var set settings
	for _, o := range opts {
		o(&set)
	}
	dir := set.dir
	if dir == "" {
		dir = t.TempDir()
	}
	ports := FreePorts(t, 2*n)
	var routes []*url.URL
	for i := range n {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", ports[n+i])})
	}
	c := &Cluster{t: t}
	for i := range n {
		s := &Server{dir: filepath.Join(dir, fmt.Sprintf("n%d", i)), port: ports[i]}
		s.options = func() *server.Options {
			o := baseOptions(s.dir, s.port)
			o.ServerName = fmt.Sprintf("n%d", i)
			o.Cluster = server.ClusterOpts{Name: "quash-test", Host: "127.0.0.1", Port: ports[n+i]}
			o.Routes = routes
			for _, f := range set.config {
				f(o)
			}
			return o
		}
		c.Servers = append(c.Servers, s)
		s.start(t)
		t.Cleanup(s.Stop)
	}
	c.WaitReady(t)
	return c
}

// WaitReady waits until a leader of the JetStream cluster is known and no server
// lags behind.
func (c *Cluster) WaitReady(t testing.TB) {
	t.Helper()
	eventually(t, "the cluster has a leader and all servers are current", func() bool {
		leader := false
		for _, s := range c.Servers {
			if !s.srv.Running() || !s.srv.JetStreamIsCurrent() {
				return false
			}
			leader = leader || s.srv.JetStreamIsLeader() && len(s.srv.JetStreamClusterPeers()) == len(c.Servers)
		}
		return leader
	})
}

// URL returns the addresses of all servers, separated by commas.
func (c *Cluster) URL() string {
	var all []string
	for _, s := range c.Servers {
		all = append(all, s.URL())
	}
	return strings.Join(all, ",")
}

// Leader waits until the stream has a leader among the running servers and
// returns it.
func (c *Cluster) Leader(stream string) *Server {
	c.t.Helper()
	var leader *Server
	eventually(c.t, "stream "+stream+" has a leader", func() bool {
		for _, s := range c.Servers {
			if s.srv.Running() && s.srv.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream) {
				leader = s
				return true
			}
		}
		return false
	})
	return leader
}

// Connect connects to the cluster; the connection is closed when the test ends.
func (c *Cluster) Connect(t testing.TB, opts ...nats.Option) *nats.Conn {
	t.Helper()
	return connect(t, c.URL(), opts...)
}

// eventually waits for what has no event to wait for.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
		<-time.After(5 * time.Millisecond)
	}
}
