package events_test

import (
	"fmt"
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
	if abandoned, next := events.Revive(s, 100*time.Millisecond, 100*time.Millisecond); abandoned || next != 0 {
		t.Errorf("a question of just now: given up %v, the next in %v", abandoned, next)
	}
	for _, asked := range []time.Duration{100 * time.Millisecond, 3 * time.Second} {
		if abandoned, next := events.Revive(s, asked, 2*time.Second); !abandoned || next > time.Second/4 {
			t.Errorf("a question of %v before, with no answer: given up %v, the next in %v", asked, abandoned, next)
		}
	}
}
