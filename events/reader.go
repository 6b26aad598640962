package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	infoTimeout = 5 * time.Second // at most, for an answer of the JetStream API
	// An abandoned catch-up leaves nothing on the server for longer than this.
	readerInactive = 10 * time.Second
	// endPatience is how many beacon intervals a reader waits for a message that
	// proves the end: less than the watchdog waits.
	endPatience = 2
)

var (
	errUnproven = errors.New("the message to go on from is not there any more")
	errOther    = errors.New("another message has the sequence to go on from")
	errNoEnd    = errors.New("everything stored was read, and no beacon came to prove it")
)

// infoWait is how long an answer of the JetStream API is waited for: at first briefly, because a request that went out while
// servers find each other again is lost and nobody says so; after failures for longer, because servers may be slow.
func infoWait(backoff time.Duration) time.Duration { return min(20*backoff, infoTimeout) }

// catchUp reads the stored part once. It shares nothing with the follower but
// what is passed in.
type catchUp struct {
	*Subscriber
	apply    func(context.Context, []Event) error
	progress *atomic.Uint64

	stream time.Time     // creation time of the stream followed so far, if known
	wait   time.Duration // for an answer of the JetStream API
	last   anchor        // the newest message that was applied contiguously
	event  anchor        // one that the stream keeps longer
	origin bool          // there is nothing to go on from
	era    uint64        // rewinds before it
}

func (c *catchUp) run(ctx context.Context) (r catchUpResult) {
	ictx, cancel := context.WithTimeout(ctx, c.wait)
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
	if r.layout, r.err = LayoutOf(info.Config); r.err != nil {
		return r
	}
	r.created = info.Created
	head := info.State.LastSeq
	switch {
	case !c.stream.IsZero() && !info.Created.Equal(c.stream):
		r.rewound = "it was created at another time than before"
	case !c.origin && head < c.last.seq:
		r.rewound = fmt.Sprintf("it ends at sequence %d, %d was seen before", head, c.last.seq)
	case info.State.Msgs == 0:
		r.reached = anchor{seq: head}
	case !c.origin && head == c.last.seq && info.State.LastTime.Equal(c.last.at):
		r.reached = c.last
	default:
		c.readFrom(ctx, stream, head, &r)
	}
	return r
}

// readFrom reads on from a message that proves the stream to be the one
// followed so far, or else from the start. Neither sequences nor times alone
// tell: a restored stream counts on, and its server's clock may be behind.
func (c *catchUp) readFrom(ctx context.Context, stream jetstream.Stream, head uint64, r *catchUpResult) {
	if !c.origin {
		for _, from := range []anchor{c.last, c.event} {
			if from.seq == 0 {
				continue
			}
			r.err = c.read(ctx, stream, head, from, r)
			switch {
			case errors.Is(r.err, errUnproven):
				continue
			case errors.Is(r.err, errOther):
				r.rewound, r.err = fmt.Sprintf("sequence %d is not the message that was seen before", from.seq), nil
			}
			return
		}
	}
	r.err = c.read(ctx, stream, head, anchor{}, r)
}

// read applies what the stream holds, from the message after from, until it
// has seen head or something after it. A replica may lag behind the head, so an
// end is only believed when a message proves it.
func (c *catchUp) read(ctx context.Context, stream jetstream.Stream, head uint64, from anchor, r *catchUpResult) error {
	cfg := jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckNonePolicy,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: readerInactive,
	}
	if from.seq > 0 {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, from.seq
	}
	ictx, cancel := context.WithTimeout(ctx, c.wait)
	defer cancel()
	cons, err := c.create(ictx, stream, cfg)
	if err != nil {
		return fmt.Errorf("create a reader on stream %s: %w", StreamName, err)
	}
	name := cons.CachedInfo().Name
	defer func() {
		// Not bound to ctx: the consumer must go even when the reading was abandoned.
		dctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = stream.DeleteConsumer(dctx, name) // the server drops it by itself soon
	}()
	if cons.CachedInfo().NumPending == 0 {
		if from.seq > 0 {
			return errUnproven
		}
		c.nudge(head)
	}
	msgs, err := cons.Messages(jetstream.PullMaxMessages(c.batch), jetstream.PullThresholdMessages(c.batch*3/4), jetstream.PullExpiry(5*time.Second), jetstream.PullHeartbeat(time.Second))
	if err != nil {
		return fmt.Errorf("read stream %s: %w", StreamName, err)
	}
	defer msgs.Stop()
	return c.drain(ctx, msgs, name, head, from, r)
}

// create makes the consumer to read with. Nobody can guess a random name; one that is
// given may be taken by a reading of before, which was interrupted.
func (c *catchUp) create(ctx context.Context, stream jetstream.Stream, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	cfg.Name = cmp.Or(c.reader, NewID())
	cfg.Description = NewID() // no two are alike: the server would give us the other one, half read
	cons, err := stream.CreateConsumer(ctx, cfg)
	if c.reader == "" || !errors.Is(err, jetstream.ErrConsumerExists) {
		return cons, err
	}
	if err := stream.DeleteConsumer(ctx, cfg.Name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, fmt.Errorf("remove the one of before: %w", err)
	}
	return stream.CreateConsumer(ctx, cfg)
}

// drain decodes on one goroutine and applies on another: either alone is
// slower than what the server delivers.
func (c *catchUp) drain(ctx context.Context, msgs jetstream.MessagesContext, consumer string, head uint64, from anchor, r *catchUpResult) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d := decoder{catchUp: c, consumer: consumer, head: head, from: from, batches: make(chan []Event, 4), spare: make(chan []Event, 6)}
	applied := make(chan struct{})
	go func() {
		defer close(applied)
		for b := range d.batches {
			if ctx.Err() == nil {
				if err := c.apply(ctx, b); err != nil {
					cancel(fmt.Errorf("apply: %w", err))
				}
			}
			clear(b)
			select {
			case d.spare <- b[:0]:
			default:
			}
		}
	}()
	err := d.run(ctx, msgs)
	close(d.batches)
	<-applied
	if cause := context.Cause(ctx); cause != nil {
		return cause // some of what was handed over may not have been applied
	}
	r.reached, r.anchor = d.reached, d.anchor
	return err
}

// decoder turns deliveries into batches of events.
type decoder struct {
	*catchUp
	consumer string // whose deliveries these must be
	head     uint64
	from     anchor
	batches  chan []Event
	spare    chan []Event

	reached anchor // everything up to it was handed over
	anchor  anchor
}

func (d *decoder) run(ctx context.Context, msgs jetstream.MessagesContext) error {
	const size = 256
	batch := make([]Event, 0, size)
	nudged := false
	pending := uint64(1)
	for delivery := uint64(1); ; delivery++ {
		m, err := d.next(ctx, msgs, pending == 0)
		if err != nil {
			return err
		}
		p, err := position(m.Reply())
		if err != nil {
			return err
		}
		if p.consumer != d.consumer {
			return fmt.Errorf("read stream %s: a delivery of consumer %s came to the reader of %s", StreamName, p.consumer, d.consumer)
		}
		if p.delivery != delivery {
			// The link broke and what was under way is lost: nothing is
			// acknowledged, so nothing is sent again.
			return fmt.Errorf("read stream %s: delivery %d came instead of %d", StreamName, p.delivery, delivery)
		}
		pending = p.pending
		d.progress.Add(1)
		if delivery == 1 && d.from.seq > 0 {
			switch {
			case p.seq != d.from.seq:
				return errUnproven
			case !p.at.Equal(d.from.at):
				return errOther
			}
		}
		if m.Subject() != SubjectBeacon {
			if r, err := Decode(m.Data()); err != nil {
				d.undecodable(p.seq, p.at, m.Headers().Get(nats.MsgIdHdr) != "", m.Headers().Get(headerTTL), err)
			} else {
				batch = append(batch, Event{Revocation: r, Sequence: p.seq, Time: p.at, Rewinds: d.era})
				d.anchor.offer(p.seq, p.at, r.Until)
			}
		}
		done := p.seq >= d.head
		if len(batch) == size || len(batch) > 0 && (done || pending == 0) {
			select {
			case d.batches <- batch:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			select {
			case batch = <-d.spare:
			default:
				batch = make([]Event, 0, size)
			}
		}
		if len(batch) == 0 {
			d.reached = anchor{seq: p.seq, at: p.at}
		}
		if done {
			return nil
		}
		if pending == 0 && !nudged {
			// The message at the head has expired, or this replica lags.
			nudged = true
			d.nudge(d.head)
		}
	}
}

// next waits for a delivery; if everything known was delivered, not for long.
func (d *decoder) next(ctx context.Context, msgs jetstream.MessagesContext, end bool) (jetstream.Msg, error) {
	if !end {
		m, err := msgs.Next(jetstream.NextContext(ctx))
		if err != nil {
			return nil, fmt.Errorf("read stream %s: %w", StreamName, err)
		}
		return m, nil
	}
	ectx, cancel := context.WithTimeout(ctx, endPatience*d.interval)
	defer cancel()
	m, err := msgs.Next(jetstream.NextContext(ectx))
	if err != nil && ectx.Err() != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("read stream %s: %w", StreamName, errNoEnd)
	}
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", StreamName, err)
	}
	return m, nil
}
