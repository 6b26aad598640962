package events

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	retryFirst = 50 * time.Millisecond
	retryMax   = 5 * time.Second
)

// follower is one Run of a Subscriber. Two goroutines share it: hear applies what
// arrives, run does everything else. So a message wakes a goroutine that waits for
// messages only: one that waits for timers as well takes longer to wake.
type follower struct {
	*Subscriber
	apply   Apply
	applyMu sync.Mutex // one Apply at a time: live and catch-up share it

	baton sync.Mutex // guards what follows, except where a comment says otherwise
	sub   *nats.Subscription

	track   tracker
	offsets offsets
	epoch   time.Time // when this Run began; monotonic time is counted from it
	stream  time.Time // creation time of the stream that track is about, if known
	origin  bool      // the next catch-up must read from the start
	rewinds uint64    // as in the status
	taken   int64     // live messages
	older   int64     // the last of them that had arrived before the newest rewind
	foreign int64     // the last that may have come from another link or stream than track is about
	joins   time.Time // arrival of the newest message that track holds for the reading to join
	anchor  anchor    // a long-lived message of the stream that track is about

	reading  *reading     // the catch-up under way, nil if none
	readers  atomic.Int32 // catch-ups that have not returned, abandoned ones included; shared with them
	attempt  uint64       // number of the newest catch-up
	results  chan catchUpResult
	retry    *time.Timer // when the next catch-up starts
	planned  time.Time   // when that is; zero: none is planned
	backoff  time.Duration
	again    bool          // the stream is back, and the catch-up under way may have asked too early
	progress atomic.Uint64 // messages read by catch-ups; shared with them

	watchdog watchdog
	beacons  beacons
	beacon   *time.Timer // fires no later than the next beacon is due
	fires    time.Time   // when that is; zero: never

	msgs  []liveMsg // what is being taken, reused
	batch []Event   // what is being applied, reused
}

func newFollower(s *Subscriber, apply Apply) *follower {
	now := s.now()
	f := &follower{
		Subscriber: s, apply: apply, origin: true, epoch: now, rewinds: s.Status().Rewinds,
		results: make(chan catchUpResult, 1), backoff: retryFirst,
		beacons:  beacons{interval: s.interval},
		watchdog: newWatchdog(s.interval, now, s.nc.Stats().Reconnects),
	}
	f.resume()
	return f
}

func (f *follower) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()

	inbox := make(chan *nats.Msg, inboxSize)
	f.waiting.Store(&inbox)
	defer f.waiting.Store(nil)
	if f.sub = f.subscribe(ctx, inbox); f.sub == nil {
		return nil // ctx ended before there was a connection to subscribe on
	}
	defer func() { _ = f.sub.Unsubscribe() }() // the connection may be gone, then so is the subscription
	states := f.nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.CLOSED)
	defer f.nc.RemoveStatusListener(states)

	tick := time.NewTicker(max(f.interval/4, 5*time.Millisecond))
	defer tick.Stop()
	f.beacon = time.NewTimer(time.Hour)
	defer f.beacon.Stop()
	f.retry = time.NewTimer(0)
	f.planned = f.now()
	defer f.retry.Stop()
	f.beacons.start(f.now())
	f.rearm()
	wg.Go(func() { f.hear(ctx, inbox) })
	wg.Go(func() { f.watchRoom(ctx) })

	for {
		var due func()
		select {
		case <-ctx.Done():
			return nil
		case r := <-f.results:
			due = func() { f.caughtUp(r) }
		case <-f.retry.C:
			due = func() { f.planned = time.Time{}; f.catchUp(ctx, &wg) }
		case state := <-states:
			due = func() { f.changed(state) }
		case <-tick.C:
			due = f.tick
		case <-f.beacon.C:
			due = f.fired
		}
		f.do(due)
	}
}

// do is how either goroutine does anything.
func (f *follower) do(what func()) {
	f.baton.Lock()
	defer f.baton.Unlock()
	what()
	f.rearm()
}

// changed looks at the connection, whose state is another.
func (f *follower) changed(state nats.Status) {
	f.checkConnection()
	if state == nats.CONNECTED && f.attempt == 0 {
		f.start(0) // the first server that was reached
	}
}

// tick looks at what nobody says.
func (f *follower) tick() {
	f.checkConnection()
	if f.again {
		f.revived()
	}
	f.watch()
}

// subscribe holds the live subscription before anything is read, so that
// nothing falls between the two. With RetryOnFailedConnect it succeeds before
// there is a server.
func (f *follower) subscribe(ctx context.Context, inbox chan *nats.Msg) *nats.Subscription {
	for {
		sub, err := f.nc.ChanSubscribe(LiveSubject, inbox)
		if err == nil {
			return sub
		}
		f.failed("subscribe to "+LiveSubject, err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryMax):
		}
	}
}

// applyBatch calls Apply, which must not run twice at once.
func (f *follower) applyBatch(ctx context.Context, batch []Event) error {
	if len(batch) == 0 {
		return nil
	}
	f.applyMu.Lock()
	defer f.applyMu.Unlock()
	f.applying.Store(f.now().UnixNano())
	defer f.applying.Store(0)
	if err := f.apply(ctx, batch); err != nil {
		return err
	}
	f.update(func(st *Status) { st.Events += uint64(len(batch)) })
	return nil
}

// prove records that the view was complete at the server's time at.
func (f *follower) prove(at, arrival, now time.Time) {
	p := &proof{asOf: at, arrival: arrival, age: f.offsets.age(arrival, arrival.Sub(f.epoch), at)}
	old := f.believe(p, now)
	if p.age > 2*f.interval && f.offsets.behind() > f.interval {
		// The clock was behind, and may not be any more: then what is taken out for it is wrong.
		f.beacons.ask(now)
	}
	f.proven(f.here(), f.offsets.behind())
	if old == nil && !f.full.Load() {
		f.log.Info("revocation stream synced", "sequence", f.track.last, "asof", at)
	}
}

// rewound starts over from the beginning of a stream that is not the one
// followed so far. What was applied stays applied: statements are facts.
func (f *follower) rewound(why string) {
	f.log.Error("revocation stream was recreated, wiped or restored: reading it from the start", "why", why)
	f.origin, f.stream, f.anchor = true, time.Time{}, anchor{}
	f.mistakes.forget()
	f.rewinds++
	f.older = f.received()
	f.update(func(st *Status) {
		st.Rewinds = f.rewinds
		st.Sequence, st.Head = 0, 0
		f.place = Place{}
	})
	f.suspend(f.watchdog.conns) // who hears of the doubt finds it among the rewinds
	f.stop()
	f.start(jitter(200 * time.Millisecond))
}

// jitter returns a random part of d.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}
