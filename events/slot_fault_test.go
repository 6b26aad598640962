package events_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// TestSlotsUnderAttack: whatever somebody makes of the slots while others read, nobody misses a statement for it.
func TestSlotsUnderAttack(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	const statements = 2000
	stream := filled(t, srv.Connect(t), statements)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int)
	go func() {
		rounds := 0
		defer func() { done <- rounds }()
		tick := time.NewTicker(20 * time.Millisecond) // the other tests need the machine, too
		defer tick.Stop()
		for ; ctx.Err() == nil; rounds++ {
			<-tick.C
			for i, name := range events.ReadingSlots() {
				cfg := jetstream.ConsumerConfig{Name: name, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, InactiveThreshold: time.Second}
				switch i % 3 {
				case 0:
					cfg.FilterSubjects = []string{events.SubjectBeacon}
				case 1:
					cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, statements/2
				}
				_ = stream.DeleteConsumer(ctx, name) // whoever has it
				if c, err := stream.CreateConsumer(ctx, cfg); err == nil {
					_, _ = c.FetchNoWait(10)
				}
				if i%2 == 0 {
					_ = stream.DeleteConsumer(ctx, name) // and gives it to the next
				}
			}
		}
	}()
	c := newCrowd(t, srv.URL())
	for range 12 {
		q := c.add(func(cfg *events.SubscriberConfig) { cfg.CatchUpBatch, cfg.SlotWait = 20, time.Second })
		close(q.goOn)
	}
	for _, q := range c.nodes {
		q.whole(t, statements, "f")
	}
	cancel()
	if n := <-done; n == 0 {
		t.Error("nothing was tried")
	}
}

// TestReaderNameIsShared: another process makes a consumer of the name that a reading is under way with, which
// begins elsewhere and counts on where the reading is. The piece between is not missed.
func TestReaderNameIsShared(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	const statements = 8000
	stream := filled(t, srv.Connect(t), statements)
	c := newCrowd(t, srv.URL())
	q := c.add(func(cfg *events.SubscriberConfig) { cfg.Reader, cfg.SlotWait = "node-a", -1 })
	c.next()
	delivered := uint64(0)
	eventually(t, "the reader stands still", func() bool {
		cons, err := stream.Consumer(t.Context(), "node-a")
		if err != nil {
			return false
		}
		before := delivered
		delivered = cons.CachedInfo().Delivered.Consumer
		return delivered == before && delivered > 0
	})
	if err := stream.DeleteConsumer(t.Context(), "node-a"); err != nil {
		t.Fatal(err)
	}
	other, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{
		Name: "node-a", AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Minute,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: delivered + 1000,
	})
	if err != nil {
		t.Fatal(err)
	}
	taken, err := other.Fetch(int(delivered))
	if err != nil {
		t.Fatal(err)
	}
	n := uint64(0)
	for range taken.Messages() {
		n++
	}
	if n != delivered {
		t.Fatalf("%d of %d were taken: %v", n, delivered, taken.Error())
	}
	close(q.goOn)
	q.whole(t, statements, "f")
	if st := q.Status(); st.CatchUps < 2 {
		t.Errorf("it read %d times", st.CatchUps)
	}
}

// TestSlotsServerRestarts: the server is killed while eight read and others wait.
func TestSlotsServerRestarts(t *testing.T) {
	t.Parallel()
	srv, nc := killable(t, t.TempDir())
	filled(t, nc, 1000)
	c := newCrowd(t, srv.URL())
	for range 10 {
		c.add(func(cfg *events.SubscriberConfig) { cfg.CatchUpBatch = 20 })
	}
	for range 8 {
		c.next()
	}
	srv.Kill()
	srv.Restart(t)
	for _, q := range c.nodes {
		close(q.goOn)
	}
	for _, q := range c.nodes {
		q.whole(t, 1000, "f")
	}
}

// TestSlotsLeaderChanges: the server that leads the stream goes away while eight read and
// others wait. Its slots are not lost with it.
func TestSlotsLeaderChanges(t *testing.T) {
	t.Parallel()
	cluster := natstest.StartCluster(t, 3)
	nc := cluster.Connect(t)
	replicated(t, nc)
	stream := filled(t, nc, 1000)
	c := newCrowd(t, cluster.URL())
	for range 10 {
		c.add(func(cfg *events.SubscriberConfig) { cfg.CatchUpBatch, cfg.SlotWait = 20, 10*time.Minute })
	}
	for range 8 {
		c.next()
	}
	down := cluster.Leader(events.StreamName)
	down.Stop()
	for _, q := range c.nodes {
		close(q.goOn)
	}
	for _, q := range c.nodes {
		q.whole(t, 1000, "f")
	}
	// With a server down: every slot can be had.
	for _, name := range events.ReadingSlots() {
		var refused error
		t.Cleanup(func() {
			if refused != nil {
				t.Logf("%s: %v", name, refused)
			}
		})
		eventually(t, "slot "+name+" is free", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, refused = stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Name: name, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 3, Description: "test", InactiveThreshold: time.Hour})
			return refused == nil
		})
	}
	for _, name := range events.ReadingSlots() {
		settles(t, "slot "+name+" is given back", func(ctx context.Context) error {
			if err := stream.DeleteConsumer(ctx, name); !errors.Is(err, jetstream.ErrConsumerNotFound) {
				return err
			}
			return nil
		})
	}
	down.Restart(t)
	eventually(t, "no consumer is left", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		info, err := stream.Info(ctx)
		return err == nil && info.State.Consumers == 0
	})
}

// TestSlotNamesAreReserved: a node whose own reader had such a name would take part in no turns and disturb all.
func TestSlotNamesAreReserved(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect(t)
	for i, name := range events.ReadingSlots() {
		if want := fmt.Sprint("quash-slot-", i); name != want {
			t.Errorf("slot %d is called %s: rights are given by name", i, name)
		}
		if _, err := events.NewSubscriber(events.SubscriberConfig{Conn: nc, Reader: name}); err == nil || !strings.Contains(err.Error(), "Reader") {
			t.Errorf("%s as the name of a reader: %v", name, err)
		}
	}
}
