package events_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// crowd is many nodes that read at once. Each stands still at its first batch until it is let go.
type crowd struct {
	t        testing.TB
	url      string
	reading  chan *queued
	inactive time.Duration // after what the slot of one that is added is free again; zero: as usual
	mu       sync.Mutex
	nodes    []*queued
}

type queued struct {
	*events.Subscriber
	*state
	goOn chan struct{}
	nc   *nats.Conn
}

func newCrowd(t testing.TB, url string) *crowd {
	return &crowd{t: t, url: url, reading: make(chan *queued, 64)}
}

func (c *crowd) add(change ...func(*events.SubscriberConfig)) *queued {
	c.t.Helper()
	nc, err := events.Connect(events.ConnectConfig{URL: c.url, Name: c.t.Name()})
	if err != nil {
		c.t.Fatal(err)
	}
	// One who hears no beacon for four intervals connects anew, and loses his turn. So long no machine stands still.
	cfg := events.SubscriberConfig{Conn: nc, BeaconInterval: 10 * time.Second, SlotWait: 10 * time.Minute}
	for _, f := range change {
		f(&cfg)
	}
	s, err := events.NewSubscriber(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	events.SetLong(s, 50, c.inactive)
	q := &queued{Subscriber: s, state: &state{keys: map[string]uint64{}}, goOn: make(chan struct{}), nc: nc}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	var once sync.Once
	go func() {
		done <- s.Run(ctx, func(ctx context.Context, batch []events.Event) error {
			once.Do(func() { c.reading <- q })
			select {
			case <-q.goOn:
				return q.apply(ctx, batch)
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	c.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Errorf("Run: %v", err)
		}
		nc.Close()
	})
	c.mu.Lock()
	c.nodes = append(c.nodes, q)
	c.mu.Unlock()
	return q
}

// next is one that reads.
func (c *crowd) next() *queued {
	c.t.Helper()
	select {
	case q := <-c.reading:
		return q
	case <-time.After(patience):
		c.t.Fatal("nobody reads")
		return nil
	}
}

// whole checks that a node has everything.
func (q *queued) whole(t testing.TB, n int, prefix string) {
	t.Helper()
	eventually(t, "a node is synced", func() bool { return q.Freshness(time.Now()).Synced })
	have := q.copy()
	for i := range n {
		if _, ok := have[fmt.Sprint(prefix, i)]; !ok {
			t.Fatalf("statement %d of %d is missing at a node that is synced", i, n)
		}
	}
}

func slotsTaken(t testing.TB, stream jetstream.Stream) (n int) {
	t.Helper()
	names := stream.ConsumerNames(t.Context())
	for name := range names.Name() {
		if strings.HasPrefix(name, "quash-slot-") {
			n++
		}
	}
	if err := names.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

func filled(t testing.TB, nc *nats.Conn, n int) jetstream.Stream {
	t.Helper()
	js := ensure(t, nc)
	p, err := events.NewPublisher(events.PublisherConfig{Conn: nc})
	if err != nil {
		t.Fatal(err)
	}
	publishAll(t, p, sessions(n, "f"))
	var stream jetstream.Stream
	settles(t, "the stream is found", func(ctx context.Context) (err error) {
		stream, err = js.Stream(ctx, events.StreamName)
		return err
	})
	return stream
}

// TestSlotsBoundReaders: of many that start at once eight read; the others say what they wait for, are not
// synced, and read when one is ready, not when all are. Who reads little waits for nobody.
func TestSlotsBoundReaders(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	stream := filled(t, srv.Connect(t), 100)
	c := newCrowd(t, srv.URL())
	c.inactive = 30 * time.Second // a machine that stands still for a while takes no slot away
	const extra = 4
	for range 8 + extra {
		c.add()
	}
	var first []*queued
	for range 8 {
		first = append(first, c.next())
	}
	waiting := func() (n int) {
		for _, q := range c.nodes {
			// Each attempt waits once. There is one, unless a question was not answered in time.
			if st := q.Status(); strings.Contains(st.LastError, "waiting for one of 8 turns to read up to 1") && st.SlotWaits >= 1 && st.SlotWaits <= st.CatchUps && !st.Synced {
				n++
			}
		}
		return n
	}
	eventually(t, "four say that they wait", func() bool { return waiting() == extra })
	short := follow(t, srv.URL()) // for which a hundred is not much
	short.fresh(t)
	select {
	case <-c.reading:
		t.Error("a ninth reads")
	default:
	}
	if n := slotsTaken(t, stream); n != 8 {
		t.Errorf("%d slots are taken", n)
	}
	// The eight are not let go at once: each makes place for one.
	for i := range extra {
		close(first[i].goOn)
		first[i].whole(t, 100, "f")
		close(c.next().goOn)
	}
	for _, q := range first[extra:] {
		close(q.goOn)
	}
	for _, q := range c.nodes {
		q.whole(t, 100, "f")
		if st := q.Status(); strings.Contains(st.LastError, "waiting") {
			t.Errorf("a node that is synced says that it is %s", st.LastError)
		}
	}
	eventually(t, "no consumer is left", func() bool {
		info, err := stream.Info(t.Context())
		return err == nil && info.State.Consumers == 0
	})
}

// TestSlotsAllHeld: who holds every slot delays others and no more, whatever he makes of
// the slots while they read.
func TestSlotsAllHeld(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	stream := filled(t, srv.Connect(t), 100)
	for i, name := range events.ReadingSlots() {
		cfg := jetstream.ConsumerConfig{Name: name, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, InactiveThreshold: time.Hour}
		if i%2 == 0 {
			cfg.FilterSubjects = []string{events.SubjectBeacon}
		}
		if _, err := stream.CreateConsumer(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	c := newCrowd(t, srv.URL())
	var ahead atomic.Int64
	q := c.add(func(cfg *events.SubscriberConfig) {
		cfg.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	close(q.goOn)
	eventually(t, "it waits", func() bool { return q.Status().SlotWaits > 0 })
	ahead.Store(int64(time.Hour))
	q.whole(t, 100, "f")
	if st := q.Status(); st.SlotWaits > st.CatchUps {
		t.Errorf("it waited %d times in %d attempts", st.SlotWaits, st.CatchUps)
	}
	never := c.add(func(cfg *events.SubscriberConfig) { cfg.SlotWait = -1 })
	close(never.goOn)
	never.whole(t, 100, "f")
	if n := never.Status().SlotWaits; n != 0 {
		t.Errorf("one that takes no slots waited %d times", n)
	}
}

// TestSlotDies: what a reader that is gone held is free again; one that reads slowly keeps its own.
func TestSlotDies(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	stream := filled(t, srv.Connect(t), 100)
	c := newCrowd(t, srv.URL())
	c.inactive = 5 * time.Minute
	for range 7 {
		c.add()
	}
	var readers []*queued
	c.inactive = 0
	goner := c.add()
	c.inactive = 5 * time.Minute
	for range 8 {
		if q := c.next(); q != goner {
			readers = append(readers, q)
		}
	}
	late := c.add()
	goner.nc.Close() // as when its process ends
	if got := c.next(); got != late {
		t.Error("somebody else reads")
	}
	// At once, unless one of the others had to connect anew and asks for another turn.
	eventually(t, "eight slots are taken", func() bool { return slotsTaken(t, stream) == 8 })
	for _, q := range append(readers, late) {
		close(q.goOn)
		q.whole(t, 100, "f")
	}
}
