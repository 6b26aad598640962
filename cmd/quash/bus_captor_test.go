package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
)

// captor has node A's credential, and does with it whatever the server lets him.
type captor struct {
	t  *testing.T
	nc *nats.Conn
}

// ask puts a question, with the answer to go to reply, and waits until the server has dealt with it.
func (c captor) ask(subject, reply string, body any) {
	c.t.Helper()
	var data []byte
	var err error
	if body != nil {
		data, err = json.Marshal(body)
	}
	if err == nil {
		err = c.nc.PublishRequest(subject, reply, data)
	}
	if err == nil { // the API answers in order
		_, err = c.nc.Request("$JS.API.STREAM.INFO.QUASH", nil, patience)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// reader makes the one consumer that A may have, called name in the body, delivering to a subject if that is not empty.
func (c captor) reader(name, deliver, filter string) {
	c.t.Helper()
	cfg := map[string]any{"name": name, "deliver_policy": "all", "ack_policy": "none", "mem_storage": true, "num_replicas": 1, "inactive_threshold": time.Minute}
	if deliver != "" {
		cfg["deliver_subject"] = deliver
	}
	if filter != "" {
		cfg["filter_subject"] = filter
	}
	c.ask("$JS.API.CONSUMER.CREATE.QUASH.api-1", "_INBOX_api-1.none", map[string]any{"stream_name": events.StreamName, "action": "create", "config": cfg})
}

func (c captor) drop() {
	c.t.Helper()
	c.ask("$JS.API.CONSUMER.DELETE.QUASH.api-1", "_INBOX_api-1.none", nil)
}

// round tries every way there is to reach others through the server.
func (c captor) round(target string) {
	c.t.Helper()
	c.reader("api-2", "", "") // another name than in the subject
	for _, deliver := range []string{"_INBOX_api-2.forged", "quash.live.beacon", "quash.live." + target, "quash.live.quash.v1.beacon", target, "quash.v1.fleet", "$KV.QUASH_ISSUER.u.ada", "$JS.API.CONSUMER.DELETE.QUASH.api-2", "$JS.API.STREAM.DELETE.QUASH"} {
		c.reader("api-1", deliver, "")
		c.drop()
	}
	c.reader("api-1", "", events.SubjectBeacon)
	for _, reply := range []string{target, "quash.live.beacon", "quash.live." + target, "_INBOX_api-2.forged", "$JS.API.CONSUMER.DELETE.QUASH.api-2", "$JS.API.STREAM.PURGE.QUASH", "$KV.QUASH_ISSUER.u.ada"} {
		c.ask("$JS.API.CONSUMER.MSG.NEXT.QUASH.api-1", reply, map[string]any{"batch": 5, "no_wait": true})
		c.ask("$JS.API.STREAM.INFO.QUASH", reply, nil)
		c.ask("$JS.API.STREAM.MSG.GET.QUASH_ONCE", reply, map[string]any{"seq": 1})
		c.ask("$JS.API.CONSUMER.INFO.QUASH.api-1", reply, nil)
	}
	c.drop()
}

// headers tries what a beacon's headers can have the server do.
func (c captor) headers(target string, forged []byte) {
	c.t.Helper()
	now := time.Now().UTC()
	for _, h := range [][]string{
		{"Nats-Rollup", "all"}, {"Nats-Rollup", "sub"}, {"Nats-Trace-Dest", target}, {"Nats-Trace-Dest", "quash.live." + target, "Nats-Trace-Only", "true"},
		{"Nats-Schedule", "@at " + now.Format(time.RFC3339), "Nats-Schedule-Target", target}, {"Nats-Schedule", "@every 1s", "Nats-Schedule-Target", target, "Nats-Schedule-TTL", "60s"},
		{"Nats-Incr", "1"}, {"Nats-Batch-Id", "b", "Nats-Batch-Sequence", "1"}, {"Nats-Marker-Reason", "Purge"}, {"KV-Operation", "PURGE"},
		{"Nats-Stream", events.StreamName, "Nats-Subject", target, "Nats-Sequence", "999999", "Nats-Time-Stamp", now.Add(time.Hour).Format(time.RFC3339Nano), "Nats-Last-Sequence", "0"},
	} {
		m := nats.NewMsg(events.SubjectBeacon)
		m.Data = forged
		m.Header.Set(nats.MsgIdHdr, events.NewID())
		for i := 0; i < len(h); i += 2 {
			m.Header.Set(h[i], h[i+1])
		}
		if err := c.nc.PublishMsg(m); err != nil {
			c.t.Fatal(err)
		}
	}
	c.drop()
}

// keys is what a follower was told of.
type keys struct {
	mu  sync.Mutex
	all map[string]int
}

func (k *keys) apply(_ context.Context, batch []events.Event) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range batch {
		k.all[e.Revocation.Scope.String()+" "+e.Revocation.Key]++
	}
	return nil
}

// TestDeploy_captorOfOneNode: with a user for each node, who has node A's credential neither
// steals, deletes nor poisons what node B reads, revokes nothing, and reaches no other account.
func TestDeploy_captorOfOneNode(t *testing.T) {
	s := secured(t)
	s.ensure()
	ctx := t.Context()
	publisher, err := events.NewPublisher(events.PublisherConfig{Conn: s.connect("publisher", "publisher")})
	if err != nil {
		t.Fatal(err)
	}
	const statements = 400
	var all []events.Revocation
	for i := range statements {
		all = append(all, events.Revocation{Issuer: "https://issuer.example", Scope: events.Session, Key: fmt.Sprint("s", i)})
	}
	if _, err := publisher.PublishAll(ctx, all, nil); err != nil {
		t.Fatal(err)
	}
	forged, err := publisher.Complete(ctx, events.Revocation{Issuer: "https://issuer.example", Scope: events.Issuer})
	if err != nil {
		t.Fatal(err)
	}
	text, err := events.Encode(forged)
	if err != nil {
		t.Fatal(err)
	}
	target := events.SubjectFor(events.Issuer)

	records, err := jetstream.New(s.connect("records", "records"), jetstream.WithDefaultTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := records.CreateStream(ctx, jetstream.StreamConfig{Name: "KV_QUASH_ISSUER", Subjects: []string{"$KV.QUASH_ISSUER.>"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := records.Publish(ctx, "$KV.QUASH_ISSUER.u.ada", []byte("record")); err != nil {
		t.Fatal(err)
	}

	// B's reader, held still while A knows its name and everything about it.
	b := s.connect("verifier", "api-2")
	js, err := jetstream.New(b, jetstream.WithDefaultTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(ctx, events.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Name: "api-2", AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	created := reader.CachedInfo().Created
	a := captor{t, s.connect("verifier", "api-1")}
	for _, subject := range append(readerOf("api-2"), "_INBOX_api-2.x") {
		a.ask(subject, "_INBOX_api-1.none", nil)
		a.ask(subject, "_INBOX_api-1.none", map[string]any{"stream_name": events.StreamName, "batch": 100, "config": map[string]any{"name": "api-2"}})
	}
	a.round(target)
	info, err := reader.Info(ctx)
	if err != nil || !info.Created.Equal(created) || info.NumPending < statements || info.Delivered.Stream != 0 {
		t.Errorf("B's reader after A's attempts: %+v, %v", info, err)
	}
	if err := stream.DeleteConsumer(ctx, "api-2"); err != nil {
		t.Fatal(err)
	}

	// B starts again and again while A goes on.
	stop, attacks := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		defer func() { attacks <- n }()
		for {
			select {
			case <-stop:
				return
			default:
				a.round(target)
				a.headers(target, text)
				n++
			}
		}
	}()
	for start := range 5 {
		sub, err := events.NewSubscriber(events.SubscriberConfig{Conn: b, Reader: "api-2", CatchUpBatch: 50})
		if err != nil {
			t.Fatal(err)
		}
		got := &keys{all: map[string]int{}}
		run, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- sub.Run(run, got.apply) }()
		deadline := time.Now().Add(patience)
		for !sub.Freshness(time.Now()).Synced && time.Now().Before(deadline) {
			<-time.After(5 * time.Millisecond)
		}
		one, err := publisher.Publish(ctx, events.Revocation{Issuer: "https://issuer.example", Scope: events.Session, Key: fmt.Sprint("late", start)})
		if err != nil {
			t.Fatal(err)
		}
		wait, end := context.WithTimeout(ctx, patience)
		if err := sub.WaitApplied(wait, events.Position{Sequence: one.Sequence}); err != nil {
			t.Errorf("start %d: %v", start, err)
		}
		end()
		st := sub.Status()
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if len(got.all) != statements+start+1 {
			t.Errorf("start %d: %d statements, want %d", start, len(got.all), statements+start+1)
		}
		for key := range got.all {
			if !strings.HasPrefix(key, "session s") && !strings.HasPrefix(key, "session late") {
				t.Errorf("start %d: %q is in force, and nobody who may revoke said so", start, key)
			}
		}
		if st.AsOf.After(time.Now().Add(time.Second)) || st.Rewinds > 0 || st.Undecodable > 0 {
			t.Errorf("start %d: as of %v, %d rewinds, %d undecodable", start, st.AsOf, st.Rewinds, st.Undecodable)
		}
	}
	close(stop)
	t.Logf("%d rounds of attempts during 5 starts", <-attacks)

	// The other account and the streams are as they were.
	if m, err := bucket.GetLastMsgForSubject(ctx, "$KV.QUASH_ISSUER.u.ada"); err != nil || string(m.Data) != "record" || m.Sequence != 1 {
		t.Errorf("the record: %v, %v", m, err)
	}
	operator, err := jetstream.New(s.connect("operator", "operator"), jetstream.WithDefaultTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	if err := operator.DeleteStream(ctx, "KV_QUASH_ISSUER"); err == nil {
		t.Error("the operator of the stream deleted the records")
	}
	if _, err := operator.KeyValue(ctx, "QUASH_ISSUER"); err == nil {
		t.Error("the operator of the stream reads the records")
	}
	kept, err := operator.Stream(ctx, events.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	if !kept.CachedInfo().Created.Equal(stream.CachedInfo().Created) || kept.CachedInfo().State.FirstSeq != 1 {
		t.Errorf("the stream: made %v, begins at %d", kept.CachedInfo().Created, kept.CachedInfo().State.FirstSeq)
	}
}
