package events

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// What the external tests may see of the follower's inner parts.

const InboxSize = inboxSize

type Tracker = tracker

const (
	StepJoined    = stepJoined
	StepPending   = stepPending
	StepDuplicate = stepDuplicate
	StepGap       = stepGap
	StepRewind    = stepRewind
)

type Step = step

func (t *tracker) Live(seq uint64, at time.Time, subject string, previous uint64) Step {
	return t.live(seq, at, subject, previous)
}
func (t *tracker) CaughtUp(seq uint64, at time.Time) bool { return t.caughtUp(seq, at) }
func (t *tracker) Open()                                  { t.open() }
func (t *tracker) Reset()                                 { t.reset() }
func (t *tracker) Complete() (uint64, bool)               { return t.last, t.complete }

type Offsets = offsets

func (o *offsets) Age(wall time.Time, mono time.Duration, server time.Time) time.Duration {
	return o.age(wall, mono, server)
}
func (o *offsets) AtLeast(bound time.Duration) { o.atLeast(bound) }
func (o *offsets) Behind() time.Duration       { return o.behind() }

// ProofFreshness evaluates a proof made at arrival.
func ProofFreshness(asOf, arrival time.Time, age time.Duration, now time.Time) Freshness {
	return (&proof{asOf: asOf, arrival: arrival, age: age}).freshness(now)
}

func ReplyPosition(reply string) (seq, delivery uint64, at time.Time, pending uint64, err error) {
	p, err := position(reply)
	return p.seq, p.delivery, p.at, p.pending, err
}

// ReadAll reads deliveries up to head, as a catch-up from the start does, and
// returns how many events were applied.
func ReadAll(ctx context.Context, msgs jetstream.MessagesContext, consumer string, head uint64) (int, error) {
	n := 0
	c := &catchUp{Subscriber: &Subscriber{silent: true, now: time.Now}, progress: new(atomic.Uint64), apply: func(_ context.Context, batch []Event) error {
		n += len(batch)
		return nil
	}}
	err := c.drain(ctx, msgs, consumer, head, anchor{}, new(catchUpResult))
	return n, err
}

// NewReader makes the consumer of a catch-up from the start, which waits so long for the first answer.
func NewReader(ctx context.Context, s *Subscriber, stream jetstream.Stream, wait time.Duration) (jetstream.Consumer, error) {
	c := &catchUp{Subscriber: s, wait: wait, made: new(atomic.Int64)}
	return c.create(ctx, stream, anchor{})
}

// BeingMade is when a reader was made that is being asked for.
var BeingMade = time.Unix(0, beingMade)

// InfoWaits is how long a follower waits for an answer before its first catch-up, and once it has failed again and again.
func InfoWaits() (first, last time.Duration) { return infoWait(retryFirst), infoWait(retryMax) }

// Revive is a live message that comes to a follower which has lost its connection
// and asked for the stored part so long ago; another while passes after it. made is when its reader was, if it was asked for. It returns
// whether that question is given up, and how soon another is put; 0: none is planned.
func Revive(s *Subscriber, asked, passes time.Duration, made time.Time) (abandoned bool, next time.Duration) {
	f := newFollower(s, nil)
	f.retry = time.NewTimer(time.Hour)
	defer f.retry.Stop()
	f.backoff = retryMax
	f.reading = &reading{cancel: func() { abandoned = true }, since: s.now().Add(-asked)}
	if !made.IsZero() {
		f.reading.made.Store(made.UnixNano())
	}
	f.follow([]liveMsg{{number: 1, seq: 7, time: s.now(), arrival: s.now(), subject: SubjectBeacon}})
	if f.reading != nil {
		f.reading.since = f.reading.since.Add(-passes)
	}
	if f.again {
		f.revived()
	}
	if !f.planned.IsZero() {
		next = f.planned.Sub(s.now())
	}
	return abandoned, next
}

// DecodeWhole and EncodeWhole read and write an answer.
var DecodeWhole = decodeWhole

func EncodeWhole(w Whole) []byte {
	text, err := json.Marshal(w.wire())
	if err != nil {
		panic(err)
	}
	return text
}

// Beacons are one follower's.
type Beacons struct{ b beacons }

// NewBeacons starts at now.
func NewBeacons(interval time.Duration, now time.Time) *Beacons {
	b := &Beacons{beacons{interval: interval}}
	b.b.start(now)
	return b
}

func (b *Beacons) Next(now, seen time.Time) string  { id, _ := b.b.next(now, seen); return id }
func (b *Beacons) Heard(at time.Time)               { b.b.heard(at) }
func (b *Beacons) Seen(at time.Time)                { b.b.seen(at) }
func (b *Beacons) Ask(now time.Time)                { b.b.ask(now) }
func (b *Beacons) Wait(now time.Time) time.Duration { return b.b.wait(now) }
