package events

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	slotPrefix = "quash-slot-"
	slotCount  = 8
	// longReading is how many stored statements may be read without a slot: a reconnect never waits.
	longReading = 3000
	slotWait    = time.Minute
	// A slot whose holder is gone is free after this, and up to a second more.
	slotInactive = 5 * time.Second
	slotSign     = 1500 * time.Millisecond // between two signs of life
	slotFirst    = 100 * time.Millisecond  // before asking again, doubled up to slotMost
	slotMost     = time.Second
	slotTries    = 2 // slots asked for at a time, but for the first time
)

var errLong = errors.New("this much is read with a slot only")

// ReadingSlots are the names of the consumers on the stream that stand for a turn to read
// much; see SubscriberConfig.SlotWait. Whoever reads may create and delete them, and ask
// each for its next message; nobody reads through one.
func ReadingSlots() []string {
	names := make([]string, slotCount)
	for i := range names {
		names[i] = slotPrefix + strconv.Itoa(i)
	}
	return names
}

// slot is a turn to read much, held by the existence of a consumer: the server lets one
// create it. It is a lock and no more. The statements come through the node's own
// reader, so whatever happens to a slot, nothing can be missed for it.
type slot struct {
	stream jetstream.Stream
	name   string
	stop   context.CancelFunc
	signs  sync.WaitGroup
}

// free may be called of nil.
func (s *slot) free(ctx context.Context) {
	if s == nil || s.name == "" {
		return
	}
	s.stop()
	s.signs.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = s.stream.DeleteConsumer(ctx, s.name) // the server drops it by itself soon
}

// keep shows that the holder lives. A slot that is lost is not taken again: the reading
// goes on, and one more may begin.
func (s *slot) keep(ctx context.Context, nc *nats.Conn) {
	tick := time.NewTicker(slotSign)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		sctx, cancel := context.WithTimeout(ctx, slotSign)
		_, _ = nc.RequestWithContext(sctx, "$JS.API.CONSUMER.MSG.NEXT."+StreamName+"."+s.name, []byte(`{"batch":1,"no_wait":true}`)) // that it was asked is all
		cancel()
	}
}

// turn is the wait for a slot, over all attempts of one catching up. Its zero value
// waits for nothing.
type turn struct {
	mu    sync.Mutex
	since time.Time
	until time.Time // then the reading begins without a slot
}

// begin returns since when and until when is waited.
func (t *turn) begin(now time.Time, wait time.Duration) (since, until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() {
		t.since, t.until = now, now.Add(wait+jitter(wait)) // spread: who waits in vain must not begin with all others
	}
	return t.since, t.until
}

func (t *turn) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since, t.until = time.Time{}, time.Time{}
}

// behind is how many statements are read at most after from.
func behind(st jetstream.StreamState, from anchor) uint64 {
	if from.seq == 0 {
		return st.Msgs
	}
	return min(st.Msgs, st.LastSeq-min(st.LastSeq, from.seq))
}

// takeSlot waits for a slot, and sets it. After the longest wait it sets one that stands for none.
func (c *catchUp) takeSlot(ctx context.Context, stream jetstream.Stream) error {
	since, until := c.turn.begin(c.now(), c.slotWait)
	c.progress.Add(1) // the stream answers: nobody needs to ask it again
	waits := false
	for wait, tries := slotFirst, slotCount; ; wait, tries = min(2*wait, slotMost), slotTries {
		for _, i := range rand.Perm(slotCount)[:tries] {
			s, err := c.trySlot(ctx, stream, slotPrefix+strconv.Itoa(i))
			switch {
			case err == nil:
				if c.slot = s; waits {
					c.update(func(st *Status) { st.LastError = "" })
					c.log.Info("it is this node's turn to read the stored revocations", "waited", c.now().Sub(since).Round(time.Millisecond))
				}
				return nil
			case ctx.Err() == nil && (errors.Is(err, jetstream.ErrMaximumConsumersLimit) || !c.now().Before(until)):
				// Without a slot it needs one consumer less.
			case !errors.Is(err, jetstream.ErrConsumerExists):
				return err
			}
		}
		if !c.now().Before(until) {
			c.log.Warn("no turn came to read the stored revocations: reading them without", "waited", c.now().Sub(since).Round(time.Millisecond))
			c.update(func(st *Status) { st.LastError = "" })
			c.slot = &slot{}
			return nil
		}
		if !waits {
			waits = true
			c.waits(stream.CachedInfo().State.Msgs, until)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(min(wait/2+jitter(wait/2), max(until.Sub(c.now()), time.Millisecond))):
		}
	}
}

// waits tells people why nothing is read.
func (c *catchUp) waits(stored uint64, until time.Time) {
	text := fmt.Sprintf("waiting for one of %d turns to read up to %d stored messages, because other nodes are reading; without one it reads at %s", slotCount, stored, until.UTC().Format(time.TimeOnly))
	c.log.Info("waiting for a turn to read the stored revocations: other nodes are reading", "stored", stored, "turns", slotCount, "atmost", until.Sub(c.now()).Round(time.Second))
	c.update(func(st *Status) {
		st.SlotWaits++
		st.LastError = text
	})
}

// trySlot returns ErrConsumerExists if somebody has it. If this role may have none, it
// returns one that stands for none.
func (c *catchUp) trySlot(ctx context.Context, stream jetstream.Stream, name string) (*slot, error) {
	tctx, cancel := context.WithTimeout(ctx, c.wait)
	defer cancel()
	_, err := stream.CreateConsumer(tctx, jetstream.ConsumerConfig{
		Name:        name,
		Description: NewID(), // no two are alike: the server would give us that of another
		// Of as many servers as the stream: one that is down would keep its slots taken.
		Replicas: stream.CachedInfo().Config.Replicas, MemoryStorage: true,
		DeliverPolicy: jetstream.DeliverNewPolicy, AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: c.slotInactive,
	})
	if refused := c.nc.LastError(); errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && errors.Is(refused, nats.ErrPermissionViolation) && strings.Contains(refused.Error(), slotPrefix) {
		c.log.Warn("this role may take no turn to read much, so that all nodes that start at once read at once: allow it to publish to the subjects of the reading slots, as `quash nats init` does", "err", refused)
		return &slot{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("take reading slot %s: %w", name, err)
	}
	kctx, stop := context.WithCancel(ctx)
	s := &slot{stream: stream, name: name, stop: stop}
	s.signs.Go(func() { s.keep(kctx, c.nc) })
	return s, nil
}
