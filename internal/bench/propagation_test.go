package bench_test

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/cache"
	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// followers is the size of the fleet of BenchmarkPropagation.
const followers = 100

// arrivals counts nodes per message; the last one stamps the time.
type arrivals struct {
	nodes int64
	count []atomic.Int64
	done  []chan time.Time
}

func newArrivals(nodes, messages int) *arrivals {
	a := &arrivals{nodes: int64(nodes), count: make([]atomic.Int64, messages), done: make([]chan time.Time, messages)}
	for i := range a.done {
		a.done[i] = make(chan time.Time, 1)
	}
	return a
}

func (a *arrivals) note(id int) {
	if a.count[id].Add(1) == a.nodes {
		a.done[id] <- time.Now()
	}
}

// BenchmarkPropagation measures, in one run on one server with sync always, the
// time from before the publish until the last of 100 nodes has it: core
// RePublish delivery (the floor), a denylist that rejects (quash), and the
// stock ordered consumer. The kinds take turns, message by message, so that
// they share whatever else the machine does.
func BenchmarkPropagation(b *testing.B) {
	const messages = 600
	srv := natstest.Start(b)
	nc := srv.Connect(b)
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := events.EnsureStream(b.Context(), js, events.Layout{}); err != nil {
		b.Fatal(err)
	}
	retention := events.Retention{}
	payload := func(key string) []byte {
		now := time.Now()
		r := events.Revocation{ID: events.NewID(), Issuer: issuerURL, Scope: events.Session, Key: key, Until: retention.Until(now), At: now, By: "admin"}
		data, err := events.Encode(r)
		if err != nil {
			b.Fatal(err)
		}
		return data
	}
	publish := func(key string) time.Time {
		data := payload(key)
		start := time.Now()
		if _, err := js.Publish(b.Context(), events.SubjectRevoked+".session", data); err != nil {
			b.Fatal(err)
		}
		return start
	}
	kinds := []string{"raw", "quash", "ordered"}
	for b.Loop() {
		results := make(map[string][]time.Duration)
		// One kind of fleet at a time listens, else each pays for the others.
		for round := range 3 {
			for _, kind := range kinds {
				got := newArrivals(followers, messages)
				stop := startFleet(b, kind, srv, got, round)
				for id := range messages {
					start := publish(fmt.Sprintf("%s-%d-%d", kind, round, id))
					results[kind] = append(results[kind], (<-got.done[id]).Sub(start))
				}
				stop()
			}
		}
		raw50, raw99 := quantiles(results["raw"])
		q50, q99 := quantiles(results["quash"])
		o50, o99 := quantiles(results["ordered"])
		b.ReportMetric(ms(raw50), "raw-p50-ms")
		b.ReportMetric(ms(raw99), "raw-p99-ms")
		b.ReportMetric(ms(q50), "quash-p50-ms")
		b.ReportMetric(ms(q99), "quash-p99-ms")
		b.ReportMetric(ms(o50), "ordered-p50-ms")
		b.ReportMetric(ms(o99), "ordered-p99-ms")
		b.ReportMetric(q99.Seconds()/raw99.Seconds(), "p99-quash/raw")
		b.ReportMetric(q99.Seconds()/o99.Seconds(), "p99-quash/ordered")
		b.ReportMetric(q50.Seconds()/raw50.Seconds(), "p50-quash/raw")
	}
}

// startFleet starts the nodes of a kind; stop ends them.
func startFleet(b *testing.B, kind string, srv *natstest.Server, got *arrivals, round int) (stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var conns []*nats.Conn
	for range followers {
		nc, err := events.Connect(events.ConnectConfig{URL: srv.URL()})
		if err != nil {
			b.Fatal(err)
		}
		conns = append(conns, nc)
		switch kind {
		case "raw":
			_, err = nc.Subscribe(events.LiveSubject, func(m *nats.Msg) { note(b, got, m.Data, kind, round) })
		case "ordered":
			err = orderedNode(ctx, &wg, nc, func(data []byte) { note(b, got, data, kind, round) })
		case "quash":
			err = quashNode(ctx, &wg, nc, got, round)
		}
		if err != nil {
			b.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			b.Fatal(err)
		}
	}
	return func() {
		cancel()
		wg.Wait()
		for _, nc := range conns {
			nc.Close()
		}
	}
}

func note(b *testing.B, got *arrivals, data []byte, kind string, round int) {
	if len(data) == 0 {
		return // a beacon
	}
	r, err := events.Decode(data)
	if err != nil {
		b.Error(err)
		return
	}
	if id, ok := numbered(r.Key, kind, round); ok {
		got.note(id)
	}
}

// numbered reads the number out of a key of this kind and round.
func numbered(key, kind string, round int) (int, bool) {
	rest, ok := strings.CutPrefix(key, kind+"-"+strconv.Itoa(round)+"-")
	if !ok {
		return 0, false
	}
	id, err := strconv.Atoi(rest)
	return id, err == nil
}

func orderedNode(ctx context.Context, wg *sync.WaitGroup, nc *nats.Conn, f func([]byte)) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	cons, err := js.OrderedConsumer(ctx, events.StreamName, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy})
	if err != nil {
		return err
	}
	cc, err := cons.Consume(func(m jetstream.Msg) { f(m.Data()) })
	if err != nil {
		return err
	}
	wg.Go(func() {
		<-ctx.Done()
		cc.Stop()
	})
	return nil
}

// quashNode is what a verifier runs: a subscriber that fills a denylist. A
// statement counts when a lookup of a token it covers says revoked.
func quashNode(ctx context.Context, wg *sync.WaitGroup, nc *nats.Conn, got *arrivals, round int) error {
	deny, err := cache.New(cache.Config{})
	if err != nil {
		return err
	}
	sub, err := events.NewSubscriber(events.SubscriberConfig{Conn: nc})
	if err != nil {
		return err
	}
	wg.Go(func() {
		defer deny.Close()
		_ = sub.Run(ctx, func(_ context.Context, batch []events.Event) error {
			if err := deny.Apply(statements(batch)); err != nil {
				return err
			}
			for _, e := range batch {
				ref := deny.Ref(cache.Claims{Issuer: e.Revocation.Issuer, Session: e.Revocation.Key, ID: "j", Subject: "s", Client: "c", KeyID: "k"})
				if id, ok := numbered(e.Revocation.Key, "quash", round); ok && deny.Check(&ref).Revoked {
					got.note(id)
				}
			}
			return nil
		})
	})
	for !sub.Freshness(time.Now()).Synced {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

func statements(batch []events.Event) []cache.Statement {
	out := make([]cache.Statement, len(batch))
	for i, e := range batch {
		r := e.Revocation
		out[i] = cache.Statement{Scope: cache.Scope(r.Scope), Issuer: r.Issuer, Key: r.Key, Gen: r.Gen, Until: r.Until.Unix(), Sequence: e.Sequence}
		if !r.Before.IsZero() {
			out[i].Before = r.Before.Unix()
		}
	}
	return out
}

func quantiles(d []time.Duration) (p50, p99 time.Duration) {
	sort.Slice(d, func(i, j int) bool { return d[i] < d[j] })
	return d[len(d)/2], d[len(d)*99/100]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

const issuerURL = "https://issuer.example"
