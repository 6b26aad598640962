package events_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
)

// exampleServer runs a nats-server until stop is called. Real programs connect
// to one that runs.
func exampleServer() (url string, stop func()) {
	dir, err := os.MkdirTemp("", "quash-example")
	if err != nil {
		log.Fatal(err)
	}
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: dir, JetStreamMaxStore: 4 << 30})
	if err != nil {
		log.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		log.Fatal("nats-server does not start")
	}
	return srv.ClientURL(), func() {
		srv.Shutdown()
		srv.WaitForShutdown()
		_ = os.RemoveAll(dir) // a temporary directory
	}
}

// Publish a revocation: when Publish returns nil, it is stored.
func ExamplePublisher_Publish() {
	url, stop := exampleServer()
	defer stop()
	nc, err := events.Connect(events.ConnectConfig{URL: url})
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := events.EnsureStream(ctx, js, events.Layout{}); err != nil { // once, by an operator
		log.Fatal(err)
	}

	p, err := events.NewPublisher(events.PublisherConfig{Conn: nc, By: "admin"})
	if err != nil {
		log.Fatal(err)
	}
	ack, err := p.Publish(ctx, events.Revocation{
		ID:     "case-4711", // publishing it again is harmless
		Issuer: "https://issuer.example", Scope: events.Subject, Key: "user-42", Reason: "laptop stolen",
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ack.ID, ack.Sequence, ack.Duplicate)
	ack, err = p.Publish(ctx, events.Revocation{ID: "case-4711", Issuer: "https://issuer.example", Scope: events.Subject, Key: "user-42"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ack.ID, ack.Sequence, ack.Duplicate)
	// Output:
	// case-4711 1 false
	// case-4711 1 true
}

// Ask all nodes, and print a receipt for a revocation.
func ExampleRevokeAndWait() {
	url, stop := exampleServer()
	defer stop()
	nc, err := events.Connect(events.ConnectConfig{URL: url})
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := events.EnsureStream(ctx, js, events.Layout{}); err != nil {
		log.Fatal(err)
	}
	p, err := events.NewPublisher(events.PublisherConfig{Conn: nc})
	if err != nil {
		log.Fatal(err)
	}
	receipt, err := events.RevokeAndWait(ctx, nc, p, events.Revocation{
		Issuer: "https://issuer.example", Scope: events.Session, Key: "s-1",
	}, time.Second)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(receipt)
	// Output: stored as 1, no node listens
}

// A revocation as the claims of a Security Event Token, for receivers that speak
// OpenID SSF.
func ExampleRevocation_SET() {
	at := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	r := events.Revocation{
		ID: "1", Issuer: "https://issuer.example", Scope: events.Session, Key: "s-1",
		At: at, Until: at.Add(time.Hour), By: "user",
	}
	claims, err := r.SET("https://issuer.example", "https://receiver.example/events")
	if err != nil {
		log.Fatal(err)
	}
	back, err := events.FromSET(claims)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(back == r)
	// Output: true
}
