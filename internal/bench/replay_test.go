package bench_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/cache"
	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// storedStatements is how many statements BenchmarkReplay reads back: a
// million, or QUASH_BENCH_STATEMENTS.
func storedStatements(b *testing.B) int {
	v := os.Getenv("QUASH_BENCH_STATEMENTS")
	if v == "" {
		return 1_000_000
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1000 {
		b.Fatalf("QUASH_BENCH_STATEMENTS=%q: want a number of at least 1000", v)
	}
	return n
}

// BenchmarkReplay measures, on one server and in one run, how fast a node
// becomes synced on a full stream, against a bare ordered consumer that reads
// the same stream and throws everything away; and what another node that
// follows live feels meanwhile.
func BenchmarkReplay(b *testing.B) {
	n := storedStatements(b)
	srv := natstest.Start(b)
	nc := srv.Connect(b)
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := events.EnsureStream(b.Context(), js, events.Layout{}); err != nil {
		b.Fatal(err)
	}
	fill(b, nc, n)
	live := startProbe(b, srv)
	for b.Loop() {
		quiet := live.collect(300)
		var raw, full time.Duration
		var during []time.Duration
		const rounds = 3
		for range rounds {
			raw += drainRaw(b, srv.URL(), n)
			live.reset()
			full += replay(b, srv, n)
			during = append(during, live.take()...)
		}
		_, quiet99 := quantiles(quiet)
		d50, d99 := quantiles(during)
		b.ReportMetric(float64(n*rounds)/raw.Seconds(), "raw-msgs/s")
		b.ReportMetric(float64(n*rounds)/full.Seconds(), "quash-msgs/s")
		b.ReportMetric(raw.Seconds()/full.Seconds(), "rate-quash/raw")
		b.ReportMetric(ms(quiet99), "live-quiet-p99-ms")
		b.ReportMetric(ms(d50), "live-replay-p50-ms")
		b.ReportMetric(ms(d99), "live-replay-p99-ms")
		b.ReportMetric(d99.Seconds()/quiet99.Seconds(), "live-p99-replay/quiet")
	}
}

func fill(b *testing.B, nc *nats.Conn, n int) {
	b.Helper()
	p, err := events.NewPublisher(events.PublisherConfig{Conn: nc})
	if err != nil {
		b.Fatal(err)
	}
	rs := make([]events.Revocation, 0, 50_000)
	for i := 0; i < n; {
		rs = rs[:0]
		for ; len(rs) < cap(rs) && i < n; i++ {
			rs = append(rs, events.Revocation{Issuer: issuerURL, Scope: events.Session, Key: fmt.Sprintf("0198c2f0-7e1d-7000-8000-%012d", i), By: "admin"})
		}
		res, err := p.PublishAll(b.Context(), rs, nil)
		if err != nil || len(res.Failed) > 0 {
			b.Fatalf("publish: %v, %d failed", err, len(res.Failed))
		}
	}
}

// drainRaw reads n messages with the stock ordered consumer and nothing else.
func drainRaw(b *testing.B, url string, n int) time.Duration {
	b.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	cons, err := js.OrderedConsumer(b.Context(), events.StreamName, jetstream.OrderedConsumerConfig{})
	if err != nil {
		b.Fatal(err)
	}
	it, err := cons.Messages()
	if err != nil {
		b.Fatal(err)
	}
	defer it.Stop()
	for range n {
		if _, err := it.Next(); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start)
}

// replay starts a node and waits until it is synced with n statements in its
// denylist.
func replay(b *testing.B, srv *natstest.Server, n int) time.Duration {
	b.Helper()
	nc, err := events.Connect(events.ConnectConfig{URL: srv.URL()})
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	deny, err := cache.New(cache.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer deny.Close()
	sub, err := events.NewSubscriber(events.SubscriberConfig{Conn: nc})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	var list []cache.Statement
	start := time.Now()
	wg.Go(func() {
		_ = sub.Run(ctx, func(_ context.Context, batch []events.Event) error {
			list = statements(list[:0], batch)
			return deny.Apply(list)
		})
	})
	for !sub.Freshness(time.Now()).Synced {
		<-time.After(time.Millisecond)
	}
	took := time.Since(start)
	if got := deny.Stats().Entries; got < n {
		b.Fatalf("synced with %d of %d statements: %+v", got, n, sub.Status())
	}
	cancel()
	wg.Wait()
	return took
}

// probe publishes a message now and then and measures when a node that follows
// live has it.
type probe struct {
	mu      sync.Mutex
	samples []time.Duration
	enough  chan struct{}
	want    int
}

func startProbe(b *testing.B, srv *natstest.Server) *probe {
	b.Helper()
	p := &probe{}
	pub, sub := srv.Connect(b), srv.Connect(b)
	got := make(chan struct{}, 1)
	if _, err := sub.Subscribe(events.LiveSubject, func(m *nats.Msg) {
		if m.Header.Get("Probe") != "" {
			got <- struct{}{}
		}
	}); err != nil {
		b.Fatal(err)
	}
	if err := sub.Flush(); err != nil {
		b.Fatal(err)
	}
	js, err := jetstream.New(pub)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		pace := time.NewTicker(2 * time.Millisecond)
		defer pace.Stop()
		m := nats.NewMsg(events.SubjectBeacon)
		m.Header.Set("Probe", "1")
		m.Header.Set("Nats-TTL", "60s")
		for ctx.Err() == nil {
			start := time.Now()
			if _, err := js.PublishMsg(ctx, m); err != nil {
				return
			}
			select {
			case <-got:
			case <-ctx.Done():
				return
			}
			p.add(time.Since(start))
			<-pace.C
		}
	})
	b.Cleanup(func() { cancel(); wg.Wait() })
	return p
}

func (p *probe) add(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.samples = append(p.samples, d)
	if p.enough != nil && len(p.samples) >= p.want {
		close(p.enough)
		p.enough = nil
	}
}

func (p *probe) reset() { p.take() }

func (p *probe) take() []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.samples
	p.samples = nil
	return s
}

// collect returns the next n samples.
func (p *probe) collect(n int) []time.Duration {
	p.mu.Lock()
	enough := make(chan struct{})
	p.samples, p.enough, p.want = nil, enough, n
	p.mu.Unlock()
	<-enough
	return p.take()
}
