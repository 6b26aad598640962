package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
)

// TestDeploy_robbedReader: node A's consumer delivers to the subject under which node B asks its reader for messages. What A has
// put into beacons then counts as B's questions, and the server spends B's messages on answers to nobody. B is not synced
// by what is left, and reads everything when it is over.
func TestDeploy_robbedReader(t *testing.T) {
	s := secured(t)
	s.ensure()
	ctx := t.Context()
	p, err := events.NewPublisher(events.PublisherConfig{Conn: s.connect("publisher", "publisher")})
	if err != nil {
		t.Fatal(err)
	}
	all := make([]events.Revocation, 2000)
	for i := range all {
		all[i] = events.Revocation{Issuer: "https://issuer.example", Scope: events.Session, Key: fmt.Sprint("s", i)}
	}
	if _, err := p.PublishAll(ctx, all, nil); err != nil {
		t.Fatal(err)
	}
	a := s.connect("verifier", "api-1")
	order, err := json.Marshal(map[string]any{"stream_name": events.StreamName, "action": "create", "config": map[string]any{
		"name": "api-1", "deliver_subject": "$JS.API.CONSUMER.MSG.NEXT.QUASH.api-2", "deliver_policy": "new", "filter_subject": events.SubjectBeacon,
		"ack_policy": "explicit", "max_ack_pending": 100_000, "mem_storage": true, "num_replicas": 1, "inactive_threshold": time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Request("$JS.API.CONSUMER.CREATE.QUASH.api-1", order, patience); err != nil {
		t.Fatal(err)
	}
	robbing, enough := context.WithCancel(ctx)
	robbed, twice := make(chan struct{}), make(chan struct{})
	var reading atomic.Bool
	go func() {
		defer close(robbed)
		for n := 0; robbing.Err() == nil; {
			begun := reading.Load()
			m := nats.NewMsg(events.SubjectBeacon)
			m.Data = []byte(`{"batch":1000,"no_wait":true}`)
			m.Header.Set("Nats-TTL", "60s")
			_, err := a.RequestMsgWithContext(robbing, m) // until it is enough
			if begun && err == nil {
				if n++; n == 2 {
					close(twice)
				}
			}
		}
	}()
	b, err := events.NewSubscriber(events.SubscriberConfig{Conn: s.connect("verifier", "api-2"), Reader: "api-2", CatchUpBatch: 50})
	if err != nil {
		t.Fatal(err)
	}
	got := &keys{all: map[string]int{}}
	run, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		done <- b.Run(run, func(ctx context.Context, batch []events.Event) error {
			// It stands still with more to read than it has at hand, until it was robbed.
			reading.Store(true)
			select {
			case <-twice:
			case <-robbing.Done():
			}
			return got.apply(ctx, batch)
		})
	}()
	wait := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !ok(); <-time.After(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("never happened: %s: %+v", what, b.Status())
			}
		}
	}
	complete := func() bool {
		got.mu.Lock()
		defer got.mu.Unlock()
		return len(got.all) == len(all)
	}
	wait("a reading fails", func() bool {
		if b.Freshness(time.Now()).Synced && !complete() {
			t.Fatal("it is synced without having read everything")
		}
		return b.Status().CatchUps > 1
	})
	enough()
	<-robbed
	wait("it is synced", func() bool { return b.Freshness(time.Now()).Synced })
	if !complete() {
		t.Errorf("%d statements, want %d", len(got.all), len(all))
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
