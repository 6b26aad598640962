package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// SubscriberConfig configures a Subscriber.
type SubscriberConfig struct {
	// Conn is the connection to follow over, see Connect. Required. The
	// subscriber may force it to reconnect and never closes it.
	Conn *nats.Conn
	// BeaconInterval is how often a beacon should pass through the stream.
	// Zero means 1 s. Followers publish one only when nobody else did. All
	// followers of a stream should use the same value.
	BeaconInterval time.Duration
	// Silent stops this subscriber from publishing beacons. It then depends on
	// others for its freshness.
	Silent bool
	// CatchUpBatch is how many stored messages are requested at a time. Zero
	// means 300. Larger batches are hardly faster and delay everybody else on
	// the same server.
	CatchUpBatch int
	// Reader names the consumer that exists on the server while the stored part is
	// read: 1 to 64 letters, digits, - and _. Empty: a random name each time. With a
	// name of its own for each node, the server's permissions can keep nodes from each
	// other's readers. Two subscribers with one name disturb each other's start.
	Reader string
	// SlotWait is how long a reading of more than 3,000 stored messages waits for one of
	// the eight slots that all nodes share, see ReadingSlots, at least; at most twice as
	// long. Then it begins without one. Zero means 1 min. Negative: such a reading never
	// waits, and is not counted among the eight.
	SlotWait time.Duration
	// Careful has what is read at the start, behind a new connection or after a rewind
	// make the view no newer before Trust is called, see Doubts.
	Careful bool
	// Logger receives what an operator should know. Nil discards.
	Logger *slog.Logger
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// Subscriber follows the stream of revocations: it applies every statement
// that is alive in it, keeps following, and knows how old its view may be.
//
// It holds one plain subscription and no consumer on the server, except for
// the short time it reads what is stored, and then one more if that is much. Its methods are safe for concurrent
// use.
type Subscriber struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	interval time.Duration
	silent   bool
	batch    int
	reader   string // empty: a random one each time
	slotWait time.Duration
	long     uint64 // statements that are read without a slot

	slotInactive time.Duration // after which the server drops a slot
	log          *slog.Logger
	now          func() time.Time

	running  atomic.Bool
	proof    atomic.Pointer[proof]          // nil until synced
	applying atomic.Int64                   // when the Apply under way began, Unix nanoseconds; 0: none
	waiting  atomic.Pointer[chan *nats.Msg] // live messages not yet taken; nil: none is running
	full     atomic.Bool                    // the stream has no room for statements
	mistakes mistakes
	turn     turn

	mu        sync.Mutex // guards what follows; never held while applying
	status    Status
	confirmed uint64 // sequence up to which WaitApplied confirms; 0 while the stream may be another
	conns     uint64 // reconnects after which that was said
	waiters   map[*waiter]struct{}
	logged    map[string]time.Time // what was complained about, and when
	doubt     doubt
	from      Place // where the next Run begins
	place     Place
}

type waiter struct {
	at   Position
	done chan struct{}
}

var readerName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// NewSubscriber checks the configuration. It does not touch the network.
func NewSubscriber(c SubscriberConfig) (*Subscriber, error) {
	if c.Conn == nil {
		return nil, errors.New("events: SubscriberConfig.Conn is missing: open a connection with events.Connect")
	}
	if c.BeaconInterval < 0 || c.BeaconInterval > 0 && c.BeaconInterval < 10*time.Millisecond {
		return nil, fmt.Errorf("events: SubscriberConfig.BeaconInterval is %v: use 0 for 1s, or at least 10ms", c.BeaconInterval)
	}
	if c.CatchUpBatch < 0 || c.CatchUpBatch > 10_000 {
		return nil, fmt.Errorf("events: SubscriberConfig.CatchUpBatch is %d: use 0 for 300, at most 10000", c.CatchUpBatch)
	}
	if c.Reader != "" && !readerName.MatchString(c.Reader) {
		return nil, fmt.Errorf("events: SubscriberConfig.Reader is %q: use 1 to 64 letters, digits, - and _", c.Reader)
	}
	if strings.HasPrefix(c.Reader, slotPrefix) {
		return nil, fmt.Errorf("events: SubscriberConfig.Reader is %q: names that begin with %s are of reading slots", c.Reader, slotPrefix)
	}
	js, err := jetstream.New(c.Conn)
	if err != nil {
		return nil, fmt.Errorf("events: open JetStream: %w", err)
	}
	s := &Subscriber{
		nc: c.Conn, js: js, interval: c.BeaconInterval, silent: c.Silent, batch: c.CatchUpBatch, reader: c.Reader, slotWait: c.SlotWait, long: longReading, slotInactive: slotInactive,
		log: c.Logger, now: c.Now, waiters: make(map[*waiter]struct{}), logged: make(map[string]time.Time),
		doubt: doubt{careful: c.Careful, news: make(chan struct{}, 1)},
	}
	if s.interval == 0 {
		s.interval = time.Second
	}
	if s.batch == 0 {
		s.batch = 300
	}
	switch {
	case s.slotWait == 0:
		s.slotWait = slotWait
	case s.slotWait < 0:
		s.long = math.MaxUint64
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	return s, nil
}

// Freshness says how old this node's view may be at now. It takes no lock and
// does not allocate.
func (s *Subscriber) Freshness(now time.Time) Freshness { return s.proof.Load().freshness(now) }

// Status returns a snapshot.
func (s *Subscriber) Status() Status {
	connected, now := s.nc.IsConnected(), s.now()
	pending := 0
	if c := s.waiting.Load(); c != nil {
		pending = len(*c)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.Connected, st.Pending = connected, pending
	if p := s.proof.Load(); p != nil {
		st.Synced, st.AsOf = true, p.asOf
	}
	past := now // by both clocks: a node's may be ahead, and set right again
	if st.AsOf.Before(past) {
		past = st.AsOf
	}
	st.Undecodable = s.mistakes.alive(past.Add(-st.Layout.Retention.Total()), st.AsOf)
	if s.full.Load() {
		st.LastError = errNoRoom.Error()
	}
	if began := s.applying.Load(); began != 0 {
		if d := now.Sub(time.Unix(0, began)); d > slowApply {
			st.LastError = fmt.Sprintf("apply: it has been at one batch for %v", d.Round(time.Second))
		}
	}
	return st
}

// slowApply is how long one Apply may take before the status mentions it.
const slowApply = 5 * time.Second

// WaitApplied returns nil once everything up to the position has been applied
// here. It returns ErrUndecodable if the event at that position could not be
// read, or the context's error.
func (s *Subscriber) WaitApplied(ctx context.Context, at Position) error {
	w := &waiter{at: at, done: make(chan struct{})}
	s.mu.Lock()
	if s.reached(at) {
		s.mu.Unlock()
		return s.mistakes.confirms(at.Sequence)
	}
	s.waiters[w] = struct{}{}
	s.mu.Unlock()
	select {
	case <-w.done:
		return s.mistakes.confirms(at.Sequence)
	case <-ctx.Done():
		s.mu.Lock()
		delete(s.waiters, w)
		s.mu.Unlock()
		return fmt.Errorf("wait for sequence %d: %w", at.Sequence, context.Cause(ctx))
	}
}

// reached must be called with mu held. The follower may not have noticed yet that
// the connection is a new one.
func (s *Subscriber) reached(at Position) bool {
	return s.confirmed >= at.Sequence && (at.Stream.IsZero() || at.Stream.Equal(s.status.Created)) &&
		s.conns == s.nc.Stats().Reconnects
}

// proven publishes a new contiguous sequence, for which there is a proof.
func (s *Subscriber) proven(at Place, behind time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.ClockBehind, s.status.LastError = behind, ""
	s.status.Head = max(s.status.Head, at.Last.Sequence)
	s.place = at
	s.advance(at.Last.Sequence)
}

// advanced publishes a new contiguous sequence.
func (s *Subscriber) advanced(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance(seq)
}

// advance wakes who waited for a sequence. It must be called with mu held.
func (s *Subscriber) advance(seq uint64) {
	s.status.Sequence, s.confirmed = seq, seq
	for w := range s.waiters {
		if s.reached(w.at) {
			close(w.done)
			delete(s.waiters, w)
		}
	}
}

// suspend confirms nothing until the next advance: the stream behind a new
// connection may not be the one that was followed.
func (s *Subscriber) suspend(conns uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.confirmed, s.conns = 0, conns
	s.doubt.arise()
}

// update changes the status under its lock.
func (s *Subscriber) update(f func(*Status)) {
	s.mu.Lock()
	f(&s.status)
	s.mu.Unlock()
}

// failed notes why following makes no progress, and logs it now and then.
func (s *Subscriber) failed(what string, err error) {
	now := s.now()
	s.mu.Lock()
	s.status.LastError = what + ": " + err.Error()
	last, ever := s.logged[what]
	again := ever && now.Sub(last) < time.Minute && !now.Before(last)
	if !again {
		s.logged[what] = now
	}
	s.mu.Unlock()
	if !again {
		s.log.Warn("revocation stream not followed", "what", what, "err", err)
	}
}

// reset forgets an earlier Run: nothing is known before this one has read the
// stream itself. It is one step: whoever trusts now what the earlier one has read must not
// make that count again.
func (s *Subscriber) reset(conns uint64) {
	s.full.Store(false)
	s.mistakes.forget()
	s.turn.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proof.Store(nil)
	s.confirmed, s.conns = 0, conns
	s.status.Sequence, s.status.Head, s.status.Created = 0, 0, time.Time{}
	s.doubt.arise()
}

// Run follows the stream and hands every statement to apply until ctx ends; it
// then returns nil. No network reason ends it: the broker may be absent at the
// start, go away, or lose its stream, and Run heals when it comes back. Run
// waits for everything it started. Only one Run may be active at a time.
func (s *Subscriber) Run(ctx context.Context, apply Apply) error {
	if apply == nil {
		return errors.New("events: Run needs an Apply function")
	}
	if !s.running.CompareAndSwap(false, true) {
		return errors.New("events: this Subscriber is running already")
	}
	defer s.running.Store(false)
	f := newFollower(s, apply)
	s.reset(f.watchdog.conns)
	return f.run(ctx)
}
