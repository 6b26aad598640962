package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// TestDeploy_cluster: what accounts import works between the servers of a cluster as well, wherever
// the streams are led: each node and the publisher are at another server.
func TestDeploy_cluster(t *testing.T) {
	s := secured(t, "verifier:api-3")
	ports := natstest.FreePorts(t, 6)
	var routes []*url.URL
	for i := range 3 {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", ports[3+i])})
	}
	// The block of deploy/README.md: routes trust nobody without a certificate of the same authority.
	block := regexp.MustCompile(`(?ms)^    cluster \{.*?^    \}$`).FindString(readText(t, filepath.Join(deployDir, "README.md")))
	conf := filepath.Join(s.dir, "cluster.conf")
	if err := os.WriteFile(conf, []byte(strings.ReplaceAll(block, "/etc/nats/keys", s.key(""))), 0o600); err != nil {
		t.Fatal(err)
	}
	shown, err := server.ProcessConfigFile(conf)
	if err != nil {
		t.Fatalf("deploy/README.md: %v", err)
	}
	inner := shown.Cluster.TLSConfig
	if inner == nil || inner.ClientAuth != tls.RequireAndVerifyClientCert || shown.Cluster.Name != "quash" || len(shown.Routes) != 3 {
		t.Fatalf("deploy/README.md: the cluster is %+v", shown.Cluster)
	}
	var servers []*server.Server
	for i := range 3 {
		o := s.options()
		s.adapt(o, ports[i])
		o.ServerName, o.StoreDir = fmt.Sprintf("n%d", i), t.TempDir()
		o.Cluster, o.Routes = server.ClusterOpts{Name: "quash", Host: "127.0.0.1", Port: ports[3+i], TLSConfig: inner, TLSTimeout: patience.Seconds()}, routes
		srv, err := server.NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		srv.SetLoggerV2(&natsLog{log: slog.New(s.said)}, false, false, false)
		srv.Start()
		t.Cleanup(func() {
			srv.Shutdown()
			srv.WaitForShutdown()
		})
		servers = append(servers, srv)
	}
	wait := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !ok(); <-time.After(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("waited in vain: %s", what)
			}
		}
	}
	wait("a cluster of three", func() bool {
		led := false
		for _, srv := range servers {
			if !srv.JetStreamIsCurrent() {
				return false
			}
			led = led || srv.JetStreamIsLeader() && len(srv.JetStreamClusterPeers()) == 3
		}
		return led
	})
	at := func(i int, role, name string) events.ConnectConfig {
		c := s.config(role, name)
		c.URL = fmt.Sprintf("tls://127.0.0.1:%d", ports[i])
		return c
	}
	ctx := t.Context()
	operator, err := events.Connect(at(0, "operator", "operator"))
	if err != nil {
		t.Fatal(err)
	}
	natstest.Connected(t, operator)
	defer operator.Close()
	js, err := jetstream.New(operator)
	if err != nil {
		t.Fatal(err)
	}
	wait("the streams", func() bool {
		_, err := events.EnsureStream(ctx, js, events.Layout{Replicas: 3})
		_, more := events.EnsureOnce(ctx, js, events.Layout{Replicas: 3})
		return err == nil && more == nil
	})
	publisher, err := events.Connect(at(1, "publisher", "publisher"))
	if err != nil {
		t.Fatal(err)
	}
	natstest.Connected(t, publisher)
	defer publisher.Close()
	p, err := events.NewPublisher(events.PublisherConfig{Conn: publisher})
	if err != nil {
		t.Fatal(err)
	}
	early := events.Revocation{ID: events.NewID(), Issuer: "https://issuer.example", Scope: events.Session, Key: "early"}
	for range 2 { // the second is read back
		if _, err := p.Publish(ctx, early); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for i := range 3 {
		name := fmt.Sprintf("api-%d", i+1)
		names = append(names, name)
		nc, err := events.Connect(at(i, "verifier", name))
		if err != nil {
			t.Fatal(err)
		}
		natstest.Connected(t, nc)
		t.Cleanup(nc.Close)
		sub, err := events.NewSubscriber(events.SubscriberConfig{Conn: nc, Reader: name})
		if err != nil {
			t.Fatal(err)
		}
		got := &keys{all: map[string]int{}}
		answers, err := events.NewResponder(events.ResponderConfig{Conn: nc, Node: name, WaitApplied: sub.WaitApplied, Report: func() events.Report { return events.Report{Synced: true} }})
		if err != nil {
			t.Fatal(err)
		}
		run, stop := context.WithCancel(context.Background())
		done := make(chan error, 2)
		go func() { done <- sub.Run(run, got.apply) }()
		go func() { done <- answers.Run(run) }()
		t.Cleanup(func() {
			stop()
			if err := errors.Join(<-done, <-done); err != nil {
				t.Error(err)
			}
		})
		wait(name+" is synced", func() bool { return sub.Freshness(time.Now()).Synced })
		r, err := events.NewRedeemer(events.RedeemerConfig{Conn: nc, Timeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		if err := r.Redeem(ctx, "https://issuer.example", "link", now, now.Add(10*time.Minute)); (i == 0) != (err == nil) || i > 0 && !errors.Is(err, events.ErrRedeemed) {
			t.Errorf("%s uses a one-time token: %v", name, err)
		}
	}
	for i, c := range []events.ConnectConfig{at(1, "publisher", "publisher"), at(2, "operator", "operator")} {
		nc, err := events.Connect(c)
		if err != nil {
			t.Fatal(err)
		}
		natstest.Connected(t, nc)
		t.Cleanup(nc.Close)
		wait(fmt.Sprintf("a receipt of all of %v", names), func() bool {
			receipt, err := events.RevokeAndWait(ctx, nc, p, events.Revocation{Issuer: early.Issuer, Scope: events.Session, Key: fmt.Sprint("late", i)}, 20*time.Second)
			if err != nil {
				t.Fatalf("receipt %d: %v", i, err)
			}
			return receipt.Complete() && len(receipt.Answered) == len(names)
		})
	}
	if v := s.said.violations(); len(v) > 0 {
		t.Errorf("the server refused what a role needs: %v", v)
	}
}
