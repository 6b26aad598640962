package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

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
	errTaken    = errors.New("somebody else has used this reader's name meanwhile, or it could not be asked: give each node a name of its own")
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
	made     *atomic.Int64 // see reading

	stream time.Time     // creation time of the stream followed so far, if known
	wait   time.Duration // for an answer of the JetStream API
	last   anchor        // the newest message that was applied contiguously
	event  anchor        // one that the stream keeps longer
	origin bool          // there is nothing to go on from
	era    uint64        // rewinds before it
	slot   *slot         // nil: as long as not much is read
}

// run reads once more, from the question for the stream on, when it was this node's turn: meanwhile it may be another.
func (c *catchUp) run(ctx context.Context) (r catchUpResult) {
	defer func() { c.slot.free(ctx) }()
	for {
		stream := c.once(ctx, &r)
		if !errors.Is(r.err, errLong) {
			return r
		}
		r = catchUpResult{}
		if r.err = c.takeSlot(ctx, stream); r.err != nil {
			return r
		}
	}
}

func (c *catchUp) once(ctx context.Context, r *catchUpResult) jetstream.Stream {
	ictx, cancel := context.WithTimeout(ctx, c.wait)
	defer cancel()
	stream, err := c.js.Stream(ictx, StreamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		r.err = fmt.Errorf("%w: the stream %s does not exist: run `quash stream ensure`", ErrLayout, StreamName)
		return nil
	}
	if err != nil {
		r.err = fmt.Errorf("ask for stream %s: %w", StreamName, err)
		return nil
	}
	info := stream.CachedInfo()
	if r.layout, r.err = LayoutOf(info.Config); r.err != nil {
		return nil
	}
	r.created = info.Created
	c.saw(info)
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
		c.readFrom(ctx, stream, head, r)
	}
	return stream
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
	if c.slot == nil && behind(stream.CachedInfo().State, from) > c.long {
		return errLong
	}
	cons, err := c.create(ctx, stream, from)
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
	err = c.drain(ctx, msgs, name, head, from, r)
	if c.reader != "" && r.reached.seq > 0 && !c.owns(ctx, stream, cons) {
		r.reached, r.anchor = anchor{}, anchor{}
		return errors.Join(errTaken, err)
	}
	return err
}

// owns asks whether the consumer is still the one that was made for this reading. One that was
// made anew under its name begins elsewhere, and counts its deliveries as ours did.
func (c *catchUp) owns(ctx context.Context, stream jetstream.Stream, cons jetstream.Consumer) bool {
	ctx, cancel := context.WithTimeout(ctx, c.wait)
	defer cancel()
	ours := cons.CachedInfo()
	now, err := stream.Consumer(ctx, ours.Name)
	return err == nil && now.CachedInfo().Config.Description == ours.Config.Description
}

// create makes the consumer to read with. Nobody can guess a random name; one that is
// given may be taken by a reading of before, which was interrupted.
func (c *catchUp) create(ctx context.Context, stream jetstream.Stream, from anchor) (jetstream.Consumer, error) {
	cfg := jetstream.ConsumerConfig{
		Name:          cmp.Or(c.reader, NewID()),
		Description:   NewID(), // no two are alike: the server would give us the other one, half read
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckNonePolicy,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: readerInactive,
	}
	if from.seq > 0 {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, from.seq
	}
	cons, err := c.insist(ctx, stream, cfg)
	if c.reader == "" || !errors.Is(err, jetstream.ErrConsumerExists) {
		return cons, err
	}
	ictx, cancel := context.WithTimeout(ctx, c.wait)
	defer cancel()
	if err := stream.DeleteConsumer(ictx, cfg.Name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, fmt.Errorf("remove the one of before: %w", err)
	}
	return c.insist(ctx, stream, cfg)
}

// insist asks for the very same consumer until there is an answer, for infoTimeout at most. A question that was lost costs
// little then, and one that waits for its turn behind those of a whole fleet is not joined by another consumer, that nobody
// reads and that counts among the thousand which a server allows.
func (c *catchUp) insist(ctx context.Context, stream jetstream.Stream, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	c.made.Store(beingMade)
	defer func() { c.made.Store(c.now().UnixNano()) }()
	all, cancel := context.WithTimeout(ctx, infoTimeout)
	defer cancel()
	for wait := c.wait; ; wait *= 2 {
		one, stop := context.WithTimeout(all, wait)
		cons, err := stream.CreateConsumer(one, cfg)
		stop()
		switch {
		case one.Err() == nil || !errors.Is(err, one.Err()):
			return cons, err
		case all.Err() != nil:
			_ = c.nc.Publish("$JS.API.CONSUMER.DELETE."+StreamName+"."+cfg.Name, nil) // it may exist by now; the server drops it by itself soon
			return nil, err
		}
	}
}
