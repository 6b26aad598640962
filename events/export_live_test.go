package events

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
)

// Heard is a follower of which one message has been received and waits for its turn when the
// stream turns out to be another; later are messages of the new one. It returns the Rewinds that each batch
// of statements is given: of what waited, and of what came later. Both send one message.
func Heard(ctx context.Context, nc *nats.Conn, waits, later func()) (old, fresh uint64, err error) {
	s, err := NewSubscriber(SubscriberConfig{Conn: nc, Silent: true})
	if err != nil {
		return 0, 0, err
	}
	f := newFollower(s, nil)
	f.retry = time.NewTimer(time.Hour)
	defer f.retry.Stop()
	inbox := make(chan *nats.Msg, 8)
	f.sub = f.subscribe(ctx, inbox)
	defer f.sub.Unsubscribe()
	if err := nc.Flush(); err != nil {
		return 0, 0, err
	}
	waits()
	m := <-inbox
	f.rewound("a test")
	f.take(m, inbox)
	old = f.era
	later()
	f.take(<-inbox, inbox)
	return old, f.era, nil
}

// BeaconTimer is a follower's timer for beacons, which fires when the test says so.
type BeaconTimer struct{ f *follower }

// NewBeaconTimer sends nothing and asks now for the time.
func NewBeaconTimer(nc *nats.Conn, now func() time.Time) (*BeaconTimer, error) {
	s, err := NewSubscriber(SubscriberConfig{Conn: nc, Silent: true, Now: now})
	if err != nil {
		return nil, err
	}
	f := newFollower(s, nil)
	f.beacon = time.NewTimer(time.Hour)
	f.beacons.start(now())
	f.rearm()
	return &BeaconTimer{f}, nil
}

// Hear is a message that arrives, Fire the timer; both as the follower's goroutines do.
func (b *BeaconTimer) Hear(at time.Time) { b.f.beacons.heard(at); b.f.rearm() }
func (b *BeaconTimer) Fire()             { b.f.fired(); b.f.rearm() }

// Sent is how many beacons were due.
func (b *BeaconTimer) Sent() uint64 { return b.f.beacons.count }

// Left is how long the timer was set for at last, and until when that is.
func (b *BeaconTimer) Left() (wait time.Duration, fires time.Time) {
	return b.f.beacons.wait(b.f.now()), b.f.fires
}
