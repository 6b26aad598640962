package events_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// deliveries stands for a reader whose link broke: a real one that loses
// messages between two pulls cannot be made to do so on purpose.
type deliveries struct {
	jetstream.MessagesContext
	msgs []jetstream.Msg
}

func (d *deliveries) Next(...jetstream.NextOpt) (jetstream.Msg, error) {
	if len(d.msgs) == 0 {
		return nil, nats.ErrConnectionClosed
	}
	m := d.msgs[0]
	d.msgs = d.msgs[1:]
	return m, nil
}

type delivery struct {
	jetstream.Msg
	data  []byte
	reply string
}

func (d delivery) Data() []byte         { return d.data }
func (d delivery) Headers() nats.Header { return nats.Header{} }
func (d delivery) Subject() string      { return events.SubjectRevoked + ".session" }
func (d delivery) Reply() string        { return d.reply }

func TestReaderNoticesLostDeliveries(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_700_000_000, 0)
	msg := func(seq, number, pending int) jetstream.Msg {
		r := sessionRevocation(fmt.Sprint(seq))
		r.ID, r.At, r.Until = events.NewID(), at, at.Add(time.Hour)
		data, err := events.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		return delivery{data: data, reply: fmt.Sprintf("$JS.ACK.QUASH.reader.1.%d.%d.%d.%d", seq, number, at.UnixNano(), pending)}
	}
	// Sequences may have holes (expired messages), deliveries may not.
	n, err := events.ReadAll(t.Context(), &deliveries{msgs: []jetstream.Msg{msg(3, 1, 2), msg(7, 2, 1), msg(9, 3, 0)}}, "reader", 9)
	if err != nil || n != 3 {
		t.Errorf("a whole reading: %d applied, %v", n, err)
	}
	if _, err := events.ReadAll(t.Context(), &deliveries{msgs: []jetstream.Msg{msg(3, 1, 2), msg(9, 3, 0)}}, "reader", 9); err == nil {
		t.Error("a reading that lost a delivery counts as whole")
	}
	// The same bus user can direct a consumer of its own at our inbox, and let it
	// deliver only the last message, as its first.
	if _, err := events.ReadAll(t.Context(), &deliveries{msgs: []jetstream.Msg{msg(9, 1, 0)}}, "ours", 9); err == nil {
		t.Error("deliveries of somebody else's consumer count as ours")
	}
}

// A request that is lost while servers find each other again must not make a node
// stale: with the default interval a bound of a few seconds is usual.
func TestReaderAsksAgainBeforeTheViewIsOld(t *testing.T) {
	t.Parallel()
	first, last := events.InfoWaits()
	if first > time.Second || last < 5*time.Second {
		t.Errorf("an answer is waited for %v at first and %v in the end", first, last)
	}
}

// The first live message after an election says that the stream works: a question
// that was lost before is put again, and one that may be answered yet is not.
func TestReaderAsksAgainWhenTheStreamIsBack(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	s, err := events.NewSubscriber(events.SubscriberConfig{Conn: natstest.Start(t).Connect(t), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	if abandoned, next := events.Revive(s, 100*time.Millisecond, 100*time.Millisecond, time.Time{}); abandoned || next != 0 {
		t.Errorf("a question of just now: given up %v, the next in %v", abandoned, next)
	}
	for _, asked := range []time.Duration{100 * time.Millisecond, 3 * time.Second} {
		if abandoned, next := events.Revive(s, asked, 2*time.Second, time.Time{}); !abandoned || next > time.Second/4 {
			t.Errorf("a question of %v before, with no answer: given up %v, the next in %v", asked, abandoned, next)
		}
		for _, made := range []time.Time{events.BeingMade, now.Add(-100 * time.Millisecond)} {
			if abandoned, next := events.Revive(s, asked, 2*time.Second, made); abandoned || next != 0 {
				t.Errorf("a question of %v before, its reader made at %v: given up %v, the next in %v", asked, made, abandoned, next)
			}
		}
		if abandoned, next := events.Revive(s, asked, 2*time.Second, now.Add(-2*time.Second)); !abandoned || next > time.Second/4 {
			t.Errorf("a question of %v before, nothing since its reader was made: given up %v, the next in %v", asked, abandoned, next)
		}
	}
}

// A reader with a name of its own takes the place of one of before that was interrupted,
// and nothing of it is left.
func TestNamedReader(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	nc := s.Connect(t)
	js := apiOf(t, nc)
	if _, err := events.EnsureStream(t.Context(), js, events.Layout{}); err != nil {
		t.Fatal(err)
	}
	p, err := events.NewPublisher(events.PublisherConfig{Conn: nc})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.PublishAll(t.Context(), sessions(20, "n"), nil); err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), events.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	old, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{
		Name: "node-a", AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Hour, Description: "of before",
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Next(); err != nil {
		t.Fatal(err)
	}
	sub, err := events.NewSubscriber(events.SubscriberConfig{Conn: s.Connect(t), Reader: "node-a"})
	if err != nil {
		t.Fatal(err)
	}
	h := &held{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sub.Run(ctx, h.apply) }()
	waitFor(t, "the node is synced", func() bool { return sub.Freshness(time.Now()).Synced })
	if !h.has("n0") || !h.has("n19") {
		t.Errorf("got %v", h.keys)
	}
	waitFor(t, "the reader is gone", func() bool {
		info, err := stream.Info(t.Context())
		return err == nil && info.State.Consumers == 0
	})
	if n := sub.Status().CatchUps; n > 2 {
		t.Errorf("%d readings for one start", n)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"a.b", "a b", "*", ">", "a/b", strings.Repeat("a", 65)} {
		if _, err := events.NewSubscriber(events.SubscriberConfig{Conn: nc, Reader: bad}); err == nil || !strings.Contains(err.Error(), "Reader") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}
