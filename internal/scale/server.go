package main

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// serverConfig is one nats-server. All listen on loopback.
type serverConfig struct {
	Name   string
	Dir    string   // of the store; empty: no JetStream, as on a leaf
	Port   int      // for clients
	Route  int      // for the other servers of the cluster; 0: it stands alone
	Routes []string // addresses of the others
	Leaf   int      // for leaf nodes; 0: none
	Hub    []string // addresses of the hub, on a leaf
	Relax  bool     // do not sync every acknowledged message: for filling only
	Many   bool     // more than the 1,000 consumers on a stream that a server allows by itself
}

// broker is the child that runs a server.
type broker struct{ srv *server.Server }

func (b *broker) handlers() handlers {
	return handlers{"start": handle(b.start), "traffic": handle(b.traffic), "drop": handle(b.drop), "sync": handle(b.sync), "clients": handle(b.clients)}
}

func (b *broker) start(c serverConfig) (struct{}, error) {
	o := &server.Options{
		ServerName: c.Name, Host: "127.0.0.1", Port: c.Port, NoLog: true, NoSigs: true, MaxPayload: 1 << 20,
		JetStream: c.Dir != "", StoreDir: c.Dir, SyncAlways: !c.Relax,
		JetStreamMaxStore: 1 << 40, // what is reserved is not used: the free disk does not decide
	}
	if c.Many {
		o.JetStreamLimits.DefaultMaxConsumers = -1
	}
	if c.Route != 0 {
		o.Cluster = server.ClusterOpts{Name: "quash-scale", Host: "127.0.0.1", Port: c.Route}
		o.Routes = server.RoutesFromStr("nats://" + strings.Join(c.Routes, ",nats://"))
	}
	if c.Leaf != 0 {
		o.LeafNode = server.LeafNodeOpts{Host: "127.0.0.1", Port: c.Leaf}
	}
	if len(c.Hub) > 0 {
		remote := &server.RemoteLeafOpts{}
		for _, a := range c.Hub {
			u, err := url.Parse("nats://" + a)
			if err != nil {
				return struct{}{}, err
			}
			remote.URLs = append(remote.URLs, u)
		}
		o.LeafNode = server.LeafNodeOpts{Remotes: []*server.RemoteLeafOpts{remote}, ReconnectInterval: 100 * time.Millisecond}
	}
	if c.Leaf != 0 || len(c.Hub) > 0 {
		// Otherwise a leaf keeps the JetStream API to itself, and who is behind it never gets ready.
		o.JsAccDefaultDomain = map[string]string{server.DEFAULT_GLOBAL_ACCOUNT: ""}
	}
	var err error
	if b.srv, err = server.NewServer(o); err != nil {
		return struct{}{}, fmt.Errorf("configure nats-server: %w", err)
	}
	b.srv.Start()
	if !b.srv.ReadyForConnections(patience) {
		return struct{}{}, errors.New("nats-server is not ready for connections")
	}
	return struct{}{}, nil
}

// sync waits until the server is part of what it belongs to.
func (b *broker) sync(servers int) (bool, error) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		switch {
		case !b.srv.JetStreamEnabled(): // a leaf
			if b.srv.NumLeafNodes() > 0 {
				return true, nil
			}
		case servers <= 1 || b.srv.JetStreamIsCurrent():
			return true, nil
		}
	}
	return false, errors.New("the server has not joined the others")
}

// traffic is what a server has sent and received since it began.
type traffic struct {
	Connections                        int
	InMsgs, OutMsgs, InBytes, OutBytes int64
	SlowConsumers                      int64
}

func (b *broker) traffic(struct{}) (traffic, error) {
	v, err := b.srv.Varz(nil)
	if err != nil {
		return traffic{}, err
	}
	return traffic{v.Connections, v.InMsgs, v.OutMsgs, v.InBytes, v.OutBytes, v.SlowConsumers}, nil
}

// drop breaks every connection whose name begins with the prefix, at once.
func (b *broker) drop(prefix string) (int, error) {
	ids, err := b.find(prefix)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, id := range ids {
		if b.srv.DisconnectClientByID(id) == nil { // it may have gone
			n++
		}
	}
	return n, nil
}

func (b *broker) clients(prefix string) (int, error) {
	ids, err := b.find(prefix)
	return len(ids), err
}

func (b *broker) find(prefix string) ([]uint64, error) {
	z, err := b.srv.Connz(&server.ConnzOptions{Limit: 100_000})
	if err != nil {
		return nil, err
	}
	var ids []uint64
	for _, c := range z.Conns {
		if strings.HasPrefix(c.Name, prefix) {
			ids = append(ids, c.Cid)
		}
	}
	return ids, nil
}
