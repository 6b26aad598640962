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

// follower is one Run of a Subscriber. Its fields belong to the goroutine of
// run, except where a comment says otherwise.
type follower struct {
	*Subscriber
	apply   Apply
	applyMu sync.Mutex // one Apply at a time: live and catch-up share it

	track   tracker
	offsets offsets
	epoch   time.Time // when this Run began; monotonic time is counted from it
	stream  time.Time // creation time of the stream that track is about, if known
	origin  bool      // the next catch-up must read from the start
	rewinds uint64    // as in the status
	older   int       // live messages not yet taken that had arrived before the newest of them
	era     uint64    // rewinds that what is being taken belongs to
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

	msgs  []liveMsg // what is being taken, reused
	batch []Event   // what is being applied, reused
}

func newFollower(s *Subscriber, apply Apply) *follower {
	now := s.now()
	return &follower{
		Subscriber: s, apply: apply, origin: true, epoch: now, rewinds: s.Status().Rewinds,
		results: make(chan catchUpResult, 1), backoff: retryFirst,
		beacons:  beacons{interval: s.interval},
		watchdog: newWatchdog(s.interval, now, s.nc.Stats().Reconnects),
	}
}

func (f *follower) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()

	inbox := make(chan *nats.Msg, inboxSize)
	f.waiting.Store(&inbox)
	defer f.waiting.Store(nil)
	sub := f.subscribe(ctx, inbox)
	if sub == nil {
		return nil // ctx ended before there was a connection to subscribe on
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be gone, then so is the subscription
	states := f.nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.CLOSED)
	defer f.nc.RemoveStatusListener(states)

	tick := time.NewTicker(max(f.interval/4, 5*time.Millisecond))
	defer tick.Stop()
	beacon := time.NewTimer(time.Hour)
	defer beacon.Stop()
	f.retry = time.NewTimer(0)
	f.planned = f.now()
	defer f.retry.Stop()
	f.beacons.start(f.now())

	for {
		if f.beacons.changed {
			f.beacons.changed = false
			beacon.Reset(f.beacons.wait(f.now()))
		}
		select {
		case <-ctx.Done():
			return nil
		case m := <-inbox:
			f.checkConnection() // it may come from behind a new connection
			f.live(ctx, f.take(m, inbox))
		case r := <-f.results:
			f.caughtUp(r)
		case <-f.retry.C:
			f.planned = time.Time{}
			f.catchUp(ctx, &wg)
		case state := <-states:
			f.checkConnection()
			if state == nats.CONNECTED && f.attempt == 0 {
				f.start(0) // the first server that was reached
			}
		case <-tick.C:
			f.checkConnection()
			if f.again {
				f.revived()
			}
			f.watch()
		case <-beacon.C:
			f.sendBeacon()
		}
	}
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

// live applies what has arrived, all of it at once, and then asks whether it
// was contiguous.
func (f *follower) live(ctx context.Context, msgs []liveMsg) {
	if len(msgs) == 0 {
		return
	}
	f.watchdog.alive(msgs[0].arrival)
	f.beacons.heard(msgs[len(msgs)-1].arrival)
	batch := f.batch[:0]
	defer func() {
		clear(batch)
		f.batch = batch[:0]
		clear(msgs)
	}()
	for i := range msgs {
		m := &msgs[i]
		if m.beacon {
			continue
		}
		r, err := Decode(m.data)
		if err != nil {
			f.undecodable(m.seq, m.time, m.named, m.ttl, err)
			continue
		}
		m.until = r.Until
		batch = append(batch, Event{Revocation: r, Sequence: m.seq, Time: m.time, Rewinds: f.era})
	}
	if err := f.applyBatch(ctx, batch); err != nil {
		// Nothing of it counts: the stream still has it.
		f.track.open()
		f.failed("apply", err)
		f.later()
		return
	}
	f.follow(msgs)
}

// follow asks of every applied message whether it was contiguous.
func (f *follower) follow(msgs []liveMsg) {
	var newest *liveMsg
	for i := range msgs {
		m := &msgs[i]
		if m.beacon {
			f.beacon(m)
		}
		switch f.track.live(m.seq, m.time, m.subject, m.previous) {
		case stepJoined:
			newest = m
			f.anchor.offer(m.seq, m.time, m.until)
		case stepPending:
			if f.track.runStart == f.track.runHead {
				f.revived()
			}
		case stepGap:
			f.log.Warn("gap in the revocation stream, reading it", "sequence", m.seq, "complete", f.track.last)
			f.update(func(st *Status) { st.Gaps++ })
			f.start(jitter(20 * time.Millisecond))
		case stepRewind:
			f.rewound("a live message has a lower sequence than before")
			newest = nil
		}
	}
	f.update(func(st *Status) { st.Head = max(st.Head, msgs[len(msgs)-1].seq) })
	if newest != nil {
		f.prove(newest.time, newest.arrival)
		f.watchdog.proven(f.now())
	}
}

// beacon takes a beacon into account, whoever sent it.
func (f *follower) beacon(m *liveMsg) {
	f.beacons.seen(m.arrival)
	f.update(func(st *Status) { st.Beacons++ })
	if sent, ok := f.beacons.own(m.data); ok {
		// Stored after it was sent: the local time of sending, told back from
		// the arrival so that no clock step lies between, bounds the error.
		sentAt := m.arrival.Round(0).Add(-m.arrival.Sub(sent))
		f.offsets.atLeast(sentAt.Sub(m.time))
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
func (f *follower) prove(at, arrival time.Time) {
	p := &proof{asOf: at, arrival: arrival, age: f.offsets.age(arrival, arrival.Sub(f.epoch), at)}
	now := f.now()
	old := f.believe(p, now)
	if p.age > 2*f.interval && f.offsets.behind() > f.interval {
		// The clock was behind, and may not be any more: then what is taken out for it is wrong.
		f.beacons.ask(now)
	}
	f.update(func(st *Status) {
		st.ClockBehind = f.offsets.behind()
		st.LastError = ""
	})
	f.advanced(f.track.last)
	if old == nil {
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
	if inbox := f.waiting.Load(); inbox != nil {
		f.older = len(*inbox)
	}
	f.update(func(st *Status) {
		st.Rewinds = f.rewinds
		st.Sequence, st.Head = 0, 0
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
