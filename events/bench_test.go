package events_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// plainEvent is what a reader without strictness would decode into.
type plainEvent struct {
	V      int    `json:"v"`
	ID     string `json:"id"`
	Issuer string `json:"iss"`
	Scope  string `json:"scope"`
	Key    string `json:"key"`
	Before int64  `json:"before"`
	Gen    uint64 `json:"gen"`
	Until  int64  `json:"until"`
	At     int64  `json:"at"`
	By     string `json:"by"`
	Actor  string `json:"actor"`
	Reason string `json:"reason"`
	Txn    string `json:"txn"`
}

// BenchmarkDecode compares Decode with encoding/json in the same run.
func BenchmarkDecode(b *testing.B) {
	data, err := events.Encode(statements()["token"])
	if err != nil {
		b.Fatal(err)
	}
	var quash, std float64
	b.Run("quash", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := events.Decode(data); err != nil {
				b.Fatal(err)
			}
		}
		quash = float64(b.Elapsed()) / float64(b.N)
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var e plainEvent
			if err := json.Unmarshal(data, &e); err != nil {
				b.Fatal(err)
			}
		}
		std = float64(b.Elapsed()) / float64(b.N)
		b.ReportMetric(std/quash, "x-quash")
	})
}

func BenchmarkEncode(b *testing.B) {
	r := statements()["token"]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := events.Encode(r); err != nil {
			b.Fatal(err)
		}
	}
}

// newStream starts a server with the stream and returns a publisher.
func newStream(tb testing.TB, l events.Layout, change func(*events.PublisherConfig)) (*nats.Conn, jetstream.JetStream, *events.Publisher) {
	tb.Helper()
	nc := natstest.Start(tb).Connect(tb)
	js := apiOf(tb, nc)
	if _, err := events.EnsureStream(tb.Context(), js, l); err != nil {
		tb.Fatal(err)
	}
	c := events.PublisherConfig{Conn: nc, AckWait: patience} // one attempt: the server stays
	if change != nil {
		change(&c)
	}
	p, err := events.NewPublisher(c)
	if err != nil {
		tb.Fatal(err)
	}
	return nc, js, p
}

// BenchmarkPublish compares Publish with a bare JetStream publish of the same
// message, and PublishAll with publishing one at a time. The server syncs every
// acknowledged message.
func BenchmarkPublish(b *testing.B) {
	_, js, p := newStream(b, events.Layout{}, nil)
	r := events.Revocation{Issuer: "https://issuer.example", Scope: events.Session}
	full, err := p.Complete(b.Context(), events.Revocation{Issuer: r.Issuer, Scope: r.Scope, Key: "raw"})
	if err != nil {
		b.Fatal(err)
	}
	data, err := events.Encode(full)
	if err != nil {
		b.Fatal(err)
	}
	var raw, single time.Duration
	n := 0
	b.Run("single", func(b *testing.B) {
		raw, single = 0, 0
		for b.Loop() { // in turns, so that both see the same machine
			start := time.Now()
			m := nats.NewMsg(events.SubjectFor(events.Session))
			m.Data = data
			if _, err := js.PublishMsg(b.Context(), m, jetstream.WithMsgID(events.NewID()), jetstream.WithMsgTTL(time.Hour)); err != nil {
				b.Fatal(err)
			}
			between := time.Now()
			n++
			r.Key = fmt.Sprint("k", n)
			if _, err := p.Publish(b.Context(), r); err != nil {
				b.Fatal(err)
			}
			raw += between.Sub(start)
			single += time.Since(between)
		}
		raw /= time.Duration(b.N)
		single /= time.Duration(b.N)
		b.ReportMetric(float64(raw), "ns/raw")
		b.ReportMetric(float64(single), "ns/quash")
		b.ReportMetric(float64(single)/float64(raw), "x-raw")
	})
	b.Run("all-10000", func(b *testing.B) {
		const size = 10_000
		for b.Loop() {
			rs := make([]events.Revocation, size)
			for i := range rs {
				n++
				rs[i] = r
				rs[i].Key = fmt.Sprint("k", n)
			}
			if _, err := p.PublishAll(b.Context(), rs, nil); err != nil {
				b.Fatal(err)
			}
		}
		each := float64(b.Elapsed()) / float64(b.N) / size
		b.ReportMetric(each, "ns/event")
		b.ReportMetric(float64(single)/each, "x-faster-than-single")
	})
}
