package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
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
		natstest.Connected(t, nc)
		t.Cleanup(nc.Close)
		return nc
	}
	evil := role("verifier")
	// Another node follows meanwhile, with the same credential.
	sub, err := events.NewSubscriber(events.SubscriberConfig{Conn: role("verifier")})
	if err != nil {
		t.Fatal(err)
	}
	got := &keys{all: map[string]int{}}
	following, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sub.Run(following, got.apply) }()
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
	if _, err := evil.RequestMsg(beacon, patience); err != nil {
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
			_, err = evil.Request("$JS.API.STREAM.INFO.QUASH", nil, patience)
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
	// A beacon that carries what the server would say of a revocation, delivered where that would come.
	dressed := nats.NewMsg(events.SubjectBeacon)
	dressed.Data = text
	for name, value := range map[string]string{"Nats-Stream": events.StreamName, "Nats-Subject": target, "Nats-Sequence": "4", "Nats-Last-Sequence": "0",
		"Nats-Time-Stamp": time.Now().UTC().Add(time.Hour).Format(time.RFC3339Nano), "Nats-Msg-Id": "forged", "Nats-TTL": "60s"} {
		dressed.Header.Set(name, value)
	}
	if _, err := evil.RequestMsg(dressed, patience); err != nil {
		t.Fatal(err)
	}
	for _, live := range []string{"quash.live.session-revoked.issuer", "quash.live.beacon"} {
		create("dress", "")
		ask("$JS.API.CONSUMER.MSG.NEXT.QUASH.dress", live, map[string]any{"batch": 10, "no_wait": true})
		ask("$JS.API.CONSUMER.DELETE.QUASH.dress", "_INBOX_verifier.none", nil)
		create("dress", live)
		ask("$JS.API.CONSUMER.DELETE.QUASH.dress", "_INBOX_verifier.none", nil)
		ask("$JS.API.STREAM.INFO.QUASH", live, nil)
	}
	ask("$JS.API.DIRECT.GET.QUASH", target, map[string]any{"last_by_subj": events.SubjectBeacon})
	ask("$JS.API.STREAM.MSG.GET.QUASH_ONCE", target, map[string]any{"seq": 1})
	ask("$JS.API.STREAM.INFO.QUASH", target, nil)
	if err := evil.Publish(target, text); err != nil {
		t.Fatal(err)
	}
	ask("$JS.API.STREAM.INFO.QUASH", "_INBOX_verifier.none", nil)
	last, err := p.Publish(t.Context(), events.Revocation{Issuer: forged.Issuer, Scope: events.Session, Key: "true"})
	if err != nil {
		t.Fatal(err)
	}
	wait, end := context.WithTimeout(t.Context(), patience)
	defer end()
	if err := sub.WaitApplied(wait, events.Position{Sequence: last.Sequence}); err != nil {
		t.Fatal(err)
	}
	st := sub.Status()
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(got.all) != 1 || got.all["session true"] == 0 || st.AsOf.After(time.Now().Add(time.Minute)) || st.Rewinds > 0 || st.Undecodable > 0 {
		t.Errorf("the other node holds %v, as of %v, with %d rewinds and %d undecodable", got.all, st.AsOf, st.Rewinds, st.Undecodable)
	}

	operator := role("operator")
	js, err := jetstream.New(operator, jetstream.WithDefaultTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); ; seq++ {
		m := stored(t, operator, seq)
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
	if _, err := evil.RequestMsg(used, patience); err != nil {
		t.Fatal(err)
	}
	for _, header := range []string{"", "Nats-Rollup: sub", "Nats-Rollup: all", "Nats-Expected-Last-Subject-Sequence: 1", "KV-Operation: PURGE", "Nats-TTL: 1s"} {
		again := nats.NewMsg(used.Subject)
		if name, value, ok := strings.Cut(header, ": "); ok {
			again.Header.Set(name, value)
		}
		if _, err := evil.RequestMsg(again, patience); err != nil {
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

// stored asks the server for a message. The library's own way reads the subject from a header,
// which the message's sender may have put there.
func stored(t *testing.T, operator *nats.Conn, seq uint64) (m struct {
	Subject string `json:"subject"`
	Data    []byte `json:"data"`
}) {
	t.Helper()
	answer, err := operator.Request("$JS.API.STREAM.MSG.GET.QUASH", fmt.Appendf(nil, `{"seq":%d}`, seq), patience)
	if err != nil {
		t.Fatal(err)
	}
	said := struct {
		Message any `json:"message"`
	}{Message: &m}
	if err := json.Unmarshal(answer.Data, &said); err != nil || m.Subject == "" {
		t.Fatalf("message %d: %v: %s", seq, err, answer.Data)
	}
	return m
}
