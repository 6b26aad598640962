package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
)

// TestDeploy_slots: with the rights of the production configuration a node that has much to read takes a reading
// slot, waits while others have all of them, and gives it back; the server refuses it nothing. One whose rights were
// written before there were slots reads at once, and says what it lacks.
func TestDeploy_slots(t *testing.T) {
	s := secured(t)
	s.ensure()
	ctx := t.Context()
	publisher, err := events.NewPublisher(events.PublisherConfig{Conn: s.connect("publisher", "publisher")})
	if err != nil {
		t.Fatal(err)
	}
	const statements = 3100
	var all []events.Revocation
	for i := range statements {
		all = append(all, events.Revocation{Issuer: "https://issuer.example", Scope: events.Session, Key: fmt.Sprint("s", i)})
	}
	if _, err := publisher.PublishAll(ctx, all, nil); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(s.connect("verifier", "api-1"), jetstream.WithDefaultTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(ctx, events.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range events.ReadingSlots() {
		if _, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Name: name, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, InactiveThreshold: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	conn := s.connect("verifier", "api-2")
	sub, err := events.NewSubscriber(events.SubscriberConfig{Conn: conn, Reader: "api-2"})
	if err != nil {
		t.Fatal(err)
	}
	got := &keys{all: map[string]int{}}
	run, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- sub.Run(run, got.apply) }()
	wait := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !ok(); <-time.After(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("never happened: %s", what)
			}
		}
	}
	wait("it waits for a slot", func() bool { return strings.Contains(sub.Status().LastError, "waiting for one of 8 turns") })
	if sub.Freshness(time.Now()).Synced {
		t.Error("it is synced without having read")
	}
	if err := stream.DeleteConsumer(ctx, events.ReadingSlots()[3]); err != nil {
		t.Fatal(err)
	}
	wait("it has read", func() bool { return sub.Freshness(time.Now()).Synced })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(got.all) != statements {
		t.Errorf("%d statements, want %d", len(got.all), statements)
	}
	wait("the slots of others alone are left", func() bool { // what a node gives back is gone by itself if it could not say so in time
		info, err := stream.Info(ctx)
		return err == nil && info.State.Consumers == len(events.ReadingSlots())-1
	})
	if v := s.said.violations(); len(v) > 0 {
		t.Errorf("the server refused what a node needs: %v", v)
	}
	// The issuer has no slots: what a configuration of before does to a verifier.
	old, err := events.NewSubscriber(events.SubscriberConfig{Conn: s.connect("issuer", "issuer-1"), Reader: "issuer-1"})
	if err != nil {
		t.Fatal(err)
	}
	run, cancel = context.WithCancel(ctx)
	go func() { done <- old.Run(run, got.apply) }()
	wait("it reads without one", func() bool { return old.Freshness(time.Now()).Synced })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wait("the server says that it has refused a slot to a role that has none", func() bool { return len(s.said.violations()) > 0 })
}
