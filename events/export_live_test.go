package events

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
)

// Ear is a follower whose goroutines are the test.
type Ear struct {
	*Subscriber
	Eras  []uint64 // Rewinds of the statements that were applied
	f     *follower
	inbox chan *nats.Msg
}

// NewEar sends nothing and asks now for the time. The caller closes it.
func NewEar(ctx context.Context, nc *nats.Conn, now func() time.Time) (*Ear, error) {
	s, err := NewSubscriber(SubscriberConfig{Conn: nc, Silent: true, Now: now})
	if err != nil {
		return nil, err
	}
	e := &Ear{Subscriber: s, inbox: make(chan *nats.Msg, 8)}
	e.f = newFollower(s, func(_ context.Context, batch []Event) error {
		for _, ev := range batch {
			e.Eras = append(e.Eras, ev.Rewinds)
		}
		return nil
	})
	e.f.retry = time.NewTimer(time.Hour)
	e.f.sub = e.f.subscribe(ctx, e.inbox)
	return e, nc.Flush()
}

func (e *Ear) Close() {
	e.f.retry.Stop()
	_ = e.f.sub.Unsubscribe()
}

// Received is how many messages there were, heard or not.
func (e *Ear) Received() int64 { return e.f.received() }

// Hear takes what waits, of which there must be something.
func (e *Ear) Hear(ctx context.Context) {
	msgs := e.f.take(<-e.inbox, e.inbox)
	e.f.checkConnection()
	e.f.live(ctx, msgs)
}

// Read is a reading that has come to a message of the stream.
func (e *Ear) Read(seq uint64, at, arrival time.Time) {
	e.result(catchUpResult{reached: anchor{seq: seq, at: at}, arrival: arrival})
}

// Another is a reading that has found another stream.
func (e *Ear) Another() { e.result(catchUpResult{rewound: "a test"}) }

func (e *Ear) result(r catchUpResult) {
	e.f.attempt++
	r.attempt = e.f.attempt
	e.f.reading = &reading{attempt: r.attempt, cancel: func() {}}
	e.f.caughtUp(r)
}

// Complete is up to where the view is said to be complete.
func (e *Ear) Complete() (uint64, bool) { return e.f.track.last, e.f.track.complete }

// Forget is the beginning of another Run.
func Forget(s *Subscriber) { s.reset(s.nc.Stats().Reconnects) }

// Prove is a follower that has read something.
func Prove(s *Subscriber, at time.Time) { newFollower(s, nil).prove(at, at, at) }

// Watchdog is one follower's.
type Watchdog struct{ w watchdog }

func NewWatchdog(interval time.Duration, now time.Time) *Watchdog {
	return &Watchdog{newWatchdog(interval, now, 0)}
}

func (w *Watchdog) Deaf(now time.Time) bool { return w.w.deaf(now, 0) }

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
