package events

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

const (
	infoTimeout = 5 * time.Second
	// An abandoned catch-up leaves nothing on the server for longer than this.
	readerInactive = 10 * time.Second
)

// catchUpResult is what reading the stored part came to.
type catchUpResult struct {
	attempt  uint64
	err      error
	created  time.Time // of the stream that was read
	layout   Layout
	rewound  string    // why the stream is not the one followed so far, if so
	head     uint64    // everything stored up to here was applied
	headTime time.Time // server timestamp of head
	arrival  time.Time
}

// reading is a catch-up under way.
type reading struct {
	attempt uint64
	cancel  context.CancelFunc
}

// catchUp starts reading the stored part, unless that is under way.
func (f *follower) catchUp(ctx context.Context, wg *sync.WaitGroup) {
	if f.reading != nil {
		return
	}
	if !f.nc.IsConnected() {
		f.later()
		return
	}
	f.attempt++
	ctx, cancel := context.WithCancel(ctx)
	f.reading = &reading{attempt: f.attempt, cancel: cancel}
	f.update(func(st *Status) { st.CatchUps++ })
	c := &catchUp{
		Subscriber: f.Subscriber, apply: f.applyBatch, undecodable: f.undecodable, progress: &f.progress,
		stream: f.stream, last: f.track.last, lastTime: f.track.lastTime, origin: f.origin,
	}
	attempt := f.attempt
	wg.Go(func() {
		defer cancel()
		r := c.run(ctx)
		r.attempt, r.arrival = attempt, f.now()
		select {
		case f.results <- r:
		case <-ctx.Done():
		}
	})
}

// caughtUp takes the result of a catch-up.
func (f *follower) caughtUp(r catchUpResult) {
	if f.reading == nil || f.reading.attempt != r.attempt {
		return // abandoned meanwhile
	}
	f.reading = nil
	if r.err != nil {
		f.failed("read the stored revocations", r.err)
		f.later()
		return
	}
	f.backoff = retryFirst
	f.stream = r.created
	f.update(func(st *Status) { st.Created, st.Layout = r.created, r.layout })
	if r.rewound != "" {
		f.track.reset()
		f.rewound(r.rewound)
		return
	}
	f.origin = false
	f.lastSign = f.now()
	joined := f.track.caughtUp(r.head, r.headTime)
	f.update(func(st *Status) {
		st.Head = max(st.Head, r.head)
		st.LastError = ""
	})
	if !joined {
		f.start(jitter(20 * time.Millisecond))
		return
	}
	f.advanced(f.track.last)
	// What was read is evidence as good as a live message: the server's time
	// says how old it is. An empty stream gives none; a beacon will.
	if !r.headTime.IsZero() {
		if f.track.last == r.head {
			f.prove(r.headTime, r.arrival)
		} else {
			f.prove(f.track.lastTime, f.now())
		}
	}
}

// catchUp reads the stored part once. It shares nothing with the follower but
// what is passed in.
type catchUp struct {
	*Subscriber
	apply       func(context.Context, []Event) error
	undecodable func(seq uint64, err error)
	progress    *atomic.Uint64

	stream   time.Time
	last     uint64
	lastTime time.Time
	origin   bool
}

func (c *catchUp) run(ctx context.Context) (r catchUpResult) {
	ictx, cancel := context.WithTimeout(ctx, infoTimeout)
	defer cancel()
	stream, err := c.js.Stream(ictx, StreamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		r.err = fmt.Errorf("%w: the stream %s does not exist: run `quash stream ensure`", ErrLayout, StreamName)
		return r
	}
	if err != nil {
		r.err = fmt.Errorf("ask for stream %s: %w", StreamName, err)
		return r
	}
	info := stream.CachedInfo()
	r.created = info.Created
	if r.layout, r.err = LayoutOf(info.Config); r.err != nil {
		return r
	}
	head := info.State.LastSeq
	switch {
	case !c.stream.IsZero() && !info.Created.Equal(c.stream):
		r.rewound = "it was created at another time than before"
		return r
	case !c.origin && head < c.last:
		r.rewound = fmt.Sprintf("it ends at sequence %d, %d was seen before", head, c.last)
		return r
	case info.State.Msgs == 0,
		!c.origin && head == c.last && info.State.LastTime.Equal(c.lastTime):
		r.head, r.headTime = head, c.lastTime
		if info.State.Msgs == 0 {
			r.headTime = time.Time{}
		}
		return r
	}
	r.head, r.headTime, r.err = c.read(ctx, stream, head)
	return r
}

// read applies what the stream holds until it has seen head or something after
// it. A replica may lag behind the head, so an end is only believed when a
// message proves it.
func (c *catchUp) read(ctx context.Context, stream jetstream.Stream, head uint64) (uint64, time.Time, error) {
	cfg := jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckNonePolicy,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: readerInactive,
	}
	if !c.origin && !c.lastTime.IsZero() {
		from := c.lastTime.Add(-overlap)
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &from
	}
	ictx, cancel := context.WithTimeout(ctx, infoTimeout)
	defer cancel()
	cons, err := stream.CreateConsumer(ictx, cfg)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("create a reader on stream %s: %w", StreamName, err)
	}
	name := cons.CachedInfo().Name
	defer func() {
		// Not bound to ctx: the consumer must go even when the reading was abandoned.
		dctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = stream.DeleteConsumer(dctx, name) // the server drops it by itself soon
	}()
	if cons.CachedInfo().NumPending == 0 {
		c.nudge(nuid.Next())
	}
	msgs, err := cons.Messages(jetstream.PullMaxMessages(c.batch), jetstream.PullExpiry(5*time.Second), jetstream.PullHeartbeat(time.Second))
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("read stream %s: %w", StreamName, err)
	}
	defer msgs.Stop()
	return c.drain(ctx, msgs, head)
}

// drain decodes on one goroutine and applies on another: either alone is
// slower than what the server delivers.
func (c *catchUp) drain(ctx context.Context, msgs jetstream.MessagesContext, head uint64) (uint64, time.Time, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	batches, spare := make(chan []Event, 4), make(chan []Event, 6)
	applied := make(chan struct{})
	go func() {
		defer close(applied)
		for b := range batches {
			if ctx.Err() == nil {
				if err := c.apply(ctx, b); err != nil {
					cancel(fmt.Errorf("apply: %w", err))
				}
			}
			clear(b)
			select {
			case spare <- b[:0]:
			default:
			}
		}
	}()
	seq, at, err := c.decode(ctx, msgs, head, batches, spare)
	close(batches)
	<-applied
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return seq, at, err
}

func (c *catchUp) decode(ctx context.Context, msgs jetstream.MessagesContext, head uint64, batches chan<- []Event, spare <-chan []Event) (uint64, time.Time, error) {
	const size = 256
	batch := make([]Event, 0, size)
	nudged := false
	for {
		m, err := msgs.Next(jetstream.NextContext(ctx))
		if err != nil {
			return 0, time.Time{}, fmt.Errorf("read stream %s: %w", StreamName, err)
		}
		seq, at, pending, err := position(m.Reply())
		if err != nil {
			return 0, time.Time{}, err
		}
		c.progress.Add(1)
		if m.Subject() != SubjectBeacon {
			if r, err := Decode(m.Data()); err != nil {
				c.undecodable(seq, err)
			} else {
				batch = append(batch, Event{Revocation: r, Sequence: seq, Time: at})
			}
		}
		done := seq >= head
		if len(batch) == size || len(batch) > 0 && (done || pending == 0) {
			select {
			case batches <- batch:
			case <-ctx.Done():
				return 0, time.Time{}, context.Cause(ctx)
			}
			select {
			case batch = <-spare:
			default:
				batch = make([]Event, 0, size)
			}
		}
		if done {
			return seq, at, nil
		}
		if pending == 0 && !nudged {
			// The message at the head has expired, or this replica lags.
			nudged = true
			c.nudge(nuid.Next())
		}
	}
}

// position reads the stream sequence, the server's timestamp and the number of
// messages still to come out of a delivery's reply subject:
// $JS.ACK[.domain.account].stream.consumer.delivered.stream_seq.consumer_seq.time.pending[.token]
func position(reply string) (seq uint64, at time.Time, pending uint64, err error) {
	const short, long = 9, 11
	n := strings.Count(reply, ".") + 1
	skip := 5
	if n >= long {
		skip = 7
	} else if n != short {
		return 0, time.Time{}, 0, fmt.Errorf("read stream %s: a message came without its position (%q)", StreamName, reply)
	}
	rest := reply
	for range skip {
		_, rest, _ = strings.Cut(rest, ".")
	}
	var nums [4]uint64
	for i := range nums {
		var tok string
		tok, rest, _ = strings.Cut(rest, ".")
		if nums[i], err = strconv.ParseUint(tok, 10, 63); err != nil {
			return 0, time.Time{}, 0, fmt.Errorf("read stream %s: position %q: %w", StreamName, reply, err)
		}
	}
	return nums[0], time.Unix(0, int64(nums[2])).UTC(), nums[3], nil
}
