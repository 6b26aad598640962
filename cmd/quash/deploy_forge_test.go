package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
)

// TestDeploy_nodeForgesNothing: a captured API node's credentials, with everything that NATS does for whoever asks, put no
// revocation into the stream and take no used one-time token out of the other.
func TestDeploy_nodeForgesNothing(t *testing.T) {
	url, _ := shippedNATS(t)
	if out, err := quashCommand(append([]string{"stream", "ensure"}, as("operator", url)...)...).CombinedOutput(); err != nil {
		t.Fatalf("stream ensure: %v: %s", err, out)
	}
	role := func(name string) *nats.Conn {
		nc, err := events.Connect(events.ConnectConfig{URL: url, User: name, Password: "p-" + name, InboxPrefix: "_INBOX_" + name})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	evil := role("verifier")
	p, err := events.NewPublisher(events.PublisherConfig{Conn: role("publisher")})
	if err != nil {
		t.Fatal(err)
	}
	forged, err := p.Complete(t.Context(), events.Revocation{Issuer: "https://issuer.example", Scope: events.Issuer})
	if err != nil {
		t.Fatal(err)
	}
	text, err := events.Encode(forged)
	if err != nil {
		t.Fatal(err)
	}
	beacon := nats.NewMsg(events.SubjectBeacon)
	beacon.Data = text
	beacon.Header.Set("Nats-TTL", "60s")
	if _, err := evil.RequestMsg(beacon, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	ask := func(subject, reply string, body any) {
		t.Helper()
		var data []byte
		var err error
		if body != nil {
			data, err = json.Marshal(body)
		}
		if err == nil {
			err = evil.PublishRequest(subject, reply, data)
		}
		if err == nil { // the API answers in order
			_, err = evil.Request("$JS.API.STREAM.INFO.QUASH", nil, 5*time.Second)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	target := events.SubjectFor(events.Issuer)
	consumer := func(name, deliver string) map[string]any {
		c := map[string]any{"name": name, "deliver_policy": "all", "ack_policy": "none", "filter_subject": events.SubjectBeacon, "mem_storage": true,
			"inactive_threshold": time.Minute}
		if deliver != "" {
			c["deliver_subject"] = deliver
		}
		return map[string]any{"stream_name": events.StreamName, "action": "create", "config": c}
	}
	create := func(name, deliver string) {
		ask("$JS.API.CONSUMER.CREATE.QUASH."+name, "_INBOX_verifier.none", consumer(name, deliver))
	}
	create("pull", "")
	ask("$JS.API.CONSUMER.MSG.NEXT.QUASH.pull", target, map[string]any{"batch": 1, "no_wait": true})
	create("push", target)
	create("live", "quash.live."+target)
	ask("$JS.API.DIRECT.GET.QUASH", target, map[string]any{"last_by_subj": events.SubjectBeacon})
	ask("$JS.API.STREAM.MSG.GET.QUASH_ONCE", target, map[string]any{"seq": 1})
	ask("$JS.API.STREAM.INFO.QUASH", target, nil)
	if err := evil.Publish(target, text); err != nil {
		t.Fatal(err)
	}
	ask("$JS.API.STREAM.INFO.QUASH", "_INBOX_verifier.none", nil)
	if _, err := p.Publish(t.Context(), events.Revocation{Issuer: forged.Issuer, Scope: events.Session, Key: "true"}); err != nil {
		t.Fatal(err)
	}

	js, err := jetstream.New(role("operator"))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), events.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); ; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(m.Subject, events.SubjectRevoked) {
			continue
		}
		r, err := events.Decode(m.Data)
		if err == nil && r.Key != "true" {
			t.Errorf("the credentials of a node put %+v into the stream", r)
		}
		if r.Key == "true" {
			break
		}
	}

	used := nats.NewMsg(events.SubjectOnce + ".token")
	used.Data = []byte("first")
	used.Header.Set("Nats-TTL", "60s")
	if _, err := evil.RequestMsg(used, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	for _, header := range []string{"", "Nats-Rollup: sub", "Nats-Rollup: all", "Nats-Expected-Last-Subject-Sequence: 1", "KV-Operation: PURGE", "Nats-TTL: 1s"} {
		again := nats.NewMsg(used.Subject)
		if name, value, ok := strings.Cut(header, ": "); ok {
			again.Header.Set(name, value)
		}
		if _, err := evil.RequestMsg(again, 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	ask("$JS.API.STREAM.MSG.DELETE.QUASH_ONCE", "_INBOX_verifier.none", map[string]any{"seq": 1})
	ask("$JS.API.STREAM.PURGE.QUASH_ONCE", "_INBOX_verifier.none", nil)
	ask("$JS.API.STREAM.DELETE.QUASH_ONCE", "_INBOX_verifier.none", nil)
	once, err := js.Stream(t.Context(), events.OnceStream)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := once.GetLastMsgForSubject(t.Context(), used.Subject); err != nil || string(m.Data) != "first" || m.Sequence != 1 {
		t.Errorf("the used token: got %+v, %v, want what the first wrote", m, err)
	}
}
