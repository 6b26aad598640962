package bench_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
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
// RePublish delivery (raw), a denylist in which it is in force (quash), and the
// stock ordered consumer. The bare ones find the number of a message in its text and
// do nothing else. One fleet at a time listens, on a new stream, else each pays for
// the others; they take turns of 200 messages, so that they share whatever
// else the machine does. The CPU time is the whole process's, server included, for
// each message and node.
func BenchmarkPropagation(b *testing.B) {
	const rounds, warm, messages = 9, 30, 200
	srv := natstest.Start(b)
	nc := srv.Connect(b)
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	retention := events.Retention{}
	publish := func(key string) time.Time {
		now := time.Now()
		r := events.Revocation{ID: events.NewID(), Issuer: issuerURL, Scope: events.Session, Key: key, Until: retention.Until(now), At: now, By: "admin"}
		data, err := events.Encode(r)
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		if _, err := js.Publish(b.Context(), events.SubjectRevoked+".session", data); err != nil {
			b.Fatal(err)
		}
		return start
	}
	kinds := []string{"raw", "quash", "ordered"}
	for b.Loop() {
		took := make(map[string][]time.Duration)
		used := make(map[string]time.Duration)
		for round := range rounds {
			for _, kind := range kinds {
				if err := js.DeleteStream(b.Context(), events.StreamName); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
					b.Fatal(err)
				}
				if _, err := events.EnsureStream(b.Context(), js, events.Layout{}); err != nil {
					b.Fatal(err)
				}
				got := newArrivals(followers, warm+messages)
				prefix := fmt.Sprintf("%s-%d-", kind, round)
				stop := startFleet(b, kind, srv, got, prefix)
				runtime.GC()
				var before time.Duration
				for id := range warm + messages {
					if id == warm {
						before = cpu(b)
					}
					start := publish(prefix + strconv.Itoa(id))
					end := <-got.done[id]
					if id >= warm {
						took[kind] = append(took[kind], end.Sub(start))
					}
				}
				used[kind] += cpu(b) - before
				stop()
			}
		}
		for _, kind := range kinds {
			p50, p99 := quantiles(took[kind])
			b.ReportMetric(ms(p50), kind+"-p50-ms")
			b.ReportMetric(ms(p99), kind+"-p99-ms")
			b.ReportMetric(float64(used[kind].Nanoseconds())/(1000*rounds*messages*followers), kind+"-cpu-us")
		}
		raw50, raw99 := quantiles(took["raw"])
		q50, q99 := quantiles(took["quash"])
		_, o99 := quantiles(took["ordered"])
		b.ReportMetric(q99.Seconds()/raw99.Seconds(), "p99-quash/raw")
		b.ReportMetric(q99.Seconds()/o99.Seconds(), "p99-quash/ordered")
		b.ReportMetric(q50.Seconds()/raw50.Seconds(), "p50-quash/raw")
		b.ReportMetric(used["quash"].Seconds()/used["raw"].Seconds(), "cpu-quash/raw")
	}
}

// cpu is what this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// startFleet starts the nodes of a kind; stop ends them.
func startFleet(b *testing.B, kind string, srv *natstest.Server, got *arrivals, prefix string) (stop func()) {
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
			_, err = nc.Subscribe(events.LiveSubject, func(m *nats.Msg) { got.find(m.Data, prefix) })
		case "ordered":
			err = orderedNode(ctx, &wg, nc, func(data []byte) { got.find(data, prefix) })
		case "quash":
			err = quashNode(ctx, b, &wg, nc, got, prefix)
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

// find notes the message with that prefix and a number as its key.
func (a *arrivals) find(data []byte, prefix string) {
	_, rest, ok := bytes.Cut(data, []byte(prefix))
	if !ok {
		return // a beacon
	}
	id := 0
	for _, c := range rest {
		if c < '0' || c > '9' {
			break
		}
		id = 10*id + int(c-'0')
	}
	a.note(id)
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

// quashNode is what a verifier runs: a subscriber that fills a denylist. A statement
// counts when Apply has returned; that every check says so is looked at in the end.
func quashNode(ctx context.Context, b *testing.B, wg *sync.WaitGroup, nc *nats.Conn, got *arrivals, prefix string) error {
	deny, err := cache.New(cache.Config{})
	if err != nil {
		return err
	}
	sub, err := events.NewSubscriber(events.SubscriberConfig{Conn: nc})
	if err != nil {
		return err
	}
	var list []cache.Statement
	wg.Go(func() {
		defer deny.Close()
		_ = sub.Run(ctx, func(_ context.Context, batch []events.Event) error {
			list = statements(list[:0], batch)
			if err := deny.Apply(list); err != nil {
				return err
			}
			for i := range batch {
				if id, err := strconv.Atoi(strings.TrimPrefix(batch[i].Revocation.Key, prefix)); err == nil {
					got.note(id)
				}
			}
			return nil
		})
		for id := range got.count {
			ref := deny.Ref(cache.Claims{Issuer: issuerURL, Session: prefix + strconv.Itoa(id), ID: "j", Subject: "s", Client: "c", KeyID: "k"})
			if !deny.Check(&ref).Revoked {
				b.Errorf("statement %d counts as applied and is not in force", id)
			}
		}
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

func statements(list []cache.Statement, batch []events.Event) []cache.Statement {
	for i := range batch {
		e := &batch[i]
		r := &e.Revocation
		s := cache.Statement{Scope: cache.Scope(r.Scope), Issuer: r.Issuer, Key: r.Key, Gen: r.Gen, Until: r.Until.Unix(), Sequence: e.Sequence}
		if !r.Before.IsZero() {
			s.Before = r.Before.Unix()
		}
		list = append(list, s)
	}
	return list
}

func quantiles(d []time.Duration) (p50, p99 time.Duration) {
	sort.Slice(d, func(i, j int) bool { return d[i] < d[j] })
	return d[len(d)/2], d[len(d)*99/100]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

const issuerURL = "https://issuer.example"
