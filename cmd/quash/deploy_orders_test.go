package main

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// TestDeploy_answersOrderNothing: the server sends an answer to whatever subject the asker names, and
// an answer that says "there is nothing" is empty, as an order to the server's API may be. In the
// account of a stream that deletes it, with the rights of a verifier. In the shipped
// configurations it does not.
func TestDeploy_answersOrderNothing(t *testing.T) {
	t.Run("nats.conf", func(t *testing.T) {
		url, _ := shippedNATS(t)
		if out, err := quashCommand(append([]string{"stream", "ensure"}, as("operator", url)...)...).CombinedOutput(); err != nil {
			t.Fatalf("stream ensure: %v: %s", err, out)
		}
		ordersNothing(t, func(role string) *nats.Conn {
			nc, err := events.Connect(events.ConnectConfig{URL: url, User: role, Password: "p-" + role, InboxPrefix: "_INBOX_" + role})
			if err != nil {
				t.Fatal(err)
			}
			natstest.Connected(t, nc)
			t.Cleanup(nc.Close)
			return nc
		}, map[string]string{"verifier": "thief", "issuer": "thief"}, "publisher")
	})
	t.Run("production.conf", func(t *testing.T) {
		s := secured(t, "verifiers:web")
		s.ensure()
		names := map[string]string{"operator": "operator", "verifier": "api-1", "issuer": "issuer-1", "verifiers": "web", "publisher": "publisher"}
		ordersNothing(t, func(role string) *nats.Conn { return s.connect(role, names[role]) },
			map[string]string{"verifier": "api-1", "issuer": "issuer-1", "verifiers": "thief"}, "publisher")
	})
}

// ordersNothing tries it with each role that has a reader, and then wants everything as it was.
func ordersNothing(t *testing.T, as func(role string) *nats.Conn, readers map[string]string, publisher string) {
	t.Helper()
	ctx := t.Context()
	for _, role := range []string{publisher, "issuer"} {
		publishesAgain(t, as(role), as("verifier"))
	}
	js, err := jetstream.New(as("operator"), jetstream.WithDefaultTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	// That nobody listens is known at once in another account, too: a node that starts asks.
	asks := as("verifier")
	_, err = events.AskWhole(ctx, asks)
	for deadline := time.Now().Add(patience); errors.Is(err, events.ErrUnavailable) && time.Now().Before(deadline); {
		_, err = events.AskWhole(ctx, asks) // the server was too busy to take the question
	}
	if !errors.Is(err, events.ErrNoLedger) {
		t.Errorf("a question that nobody listens to: %v", err)
	}
	before := map[string]time.Time{}
	for _, name := range []string{events.StreamName, events.OnceStream} {
		s, err := js.Stream(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		before[name] = s.CachedInfo().Created
		if _, err := s.CreateConsumer(ctx, jetstream.ConsumerConfig{Name: "kept", AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	for role, reader := range readers {
		nc := as(role)
		cfg, err := json.Marshal(map[string]any{"stream_name": events.StreamName, "config": map[string]any{"name": reader, "ack_policy": "none", "mem_storage": true, "num_replicas": 1, "inactive_threshold": time.Minute}})
		if err != nil {
			t.Fatal(err)
		}
		if m, err := nc.Request("$JS.API.CONSUMER.CREATE.QUASH."+reader, cfg, patience); err != nil {
			t.Fatalf("%s: %v", role, err)
		} else if answer := (struct{ Error *jetstream.APIError }{}); json.Unmarshal(m.Data, &answer) != nil || answer.Error != nil {
			t.Fatalf("%s has no reader: %s", role, m.Data)
		}
		for _, order := range []string{"CONSUMER.DELETE.QUASH.kept", "CONSUMER.DELETE.QUASH_ONCE.kept", "STREAM.PURGE.QUASH", "STREAM.PURGE.QUASH_ONCE", "STREAM.DELETE.QUASH_ONCE", "STREAM.DELETE.QUASH"} {
			for _, reply := range []string{"$JS.API." + order, "quash.api." + order} {
				for range 2 {
					if err := nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.QUASH."+reader, reply, []byte(`{"batch":1000,"no_wait":true}`)); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if _, err := nc.Request("$JS.API.STREAM.INFO.QUASH", nil, patience); err != nil {
			t.Errorf("%s: %v", role, err)
		}
	}
	// The orders are obeyed by others than those who answer us: an order of our own, behind them.
	for range 50 {
		if _, err := js.AccountInfo(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for name, created := range before {
		s, err := js.Stream(ctx, name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !s.CachedInfo().Created.Equal(created) {
			t.Errorf("%s is another stream", name)
		}
		if _, err := s.Consumer(ctx, "kept"); err != nil {
			t.Errorf("%s: somebody else's reader: %v", name, err)
		}
	}
}

// publishesAgain: who got no acknowledgement publishes with the same ID, and is told that it is
// stored; a beacon with an ID that somebody foresaw does not pass for the statement.
func publishesAgain(t *testing.T, nc, verifier *nats.Conn) {
	t.Helper()
	p, err := events.NewPublisher(events.PublisherConfig{Conn: nc, AckWait: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	r := events.Revocation{ID: events.NewID(), Issuer: "https://issuer.example", Scope: events.Session, Key: "again"}
	for n := range 2 {
		if _, err := p.Publish(t.Context(), r); err != nil {
			t.Fatalf("attempt %d: %v", n+1, err)
		}
	}
	foreseen, err := p.Complete(t.Context(), events.Revocation{ID: events.NewID(), Issuer: r.Issuer, Scope: events.Session, Key: "foreseen"})
	if err != nil {
		t.Fatal(err)
	}
	m := nats.NewMsg(events.SubjectBeacon)
	if m.Data, err = events.Encode(foreseen); err != nil {
		t.Fatal(err)
	}
	m.Header.Set(nats.MsgIdHdr, foreseen.ID)
	m.Header.Set("Nats-Subject", events.SubjectFor(events.Session))
	m.Header.Set("Nats-TTL", "60s")
	if _, err := verifier.RequestMsg(m, patience); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Publish(t.Context(), foreseen); !errors.Is(err, events.ErrInvalid) {
		t.Errorf("a statement whose ID a beacon has taken: got %v, want that it was not stored", err)
	}
}
