package events

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// overlap is read again before the newest applied message when a
	// connection comes back: sequences may lie after a restore, and the
	// clocks of two servers differ a little.
	overlap = 15 * time.Second
	// deafAfter is the number of beacon intervals without any evidence after
	// which a connected link counts as deaf.
	deafAfter    = 4
	retryFirst   = 50 * time.Millisecond
	retryMax     = 5 * time.Second
	pendingAlarm = 100_000 // live messages waiting
)

// follower is one Run of a Subscriber. Its fields belong to the goroutine of
// run, except where a comment says otherwise.
type follower struct {
	*Subscriber
	apply   Apply
	applyMu sync.Mutex // one Apply at a time: live and catch-up share it
	inbox   inbox

	track   tracker
	offsets offsets
	stream  time.Time // creation time of the stream that track is about
	origin  bool      // the next catch-up must read from the start

	reading  *reading // the catch-up under way, nil if none
	attempt  uint64   // number of the newest catch-up
	results  chan catchUpResult
	retry    *time.Timer // when the next catch-up starts
	backoff  time.Duration
	progress atomic.Uint64 // messages read by catch-ups; shared with them

	lastSign time.Time     // last evidence of life: proof, progress, or a forced reconnect
	patience time.Duration // how long the watchdog waits for the next
	progSeen uint64        // progress at lastSign
	connSeen uint64        // nc.Stats().Reconnects

	epoch    time.Time // when this Run began; monotonic time is counted from it
	beacons  beacons
	mistakes mistakes
}

func newFollower(s *Subscriber, apply Apply) *follower {
	f := &follower{
		Subscriber: s, apply: apply, origin: true,
		results: make(chan catchUpResult, 1), backoff: retryFirst,
		patience: deafAfter * s.interval, epoch: s.now(),
	}
	f.inbox.ready, f.inbox.now = make(chan struct{}, 1), s.now
	f.beacons = beacons{interval: s.interval}
	return f
}

func (f *follower) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()

	sub, err := f.subscribe(ctx)
	if sub == nil {
		return err // ctx ended before the first connection
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection may be gone, then so is the subscription
	states := f.nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.CLOSED)
	defer f.nc.RemoveStatusListener(states)

	tick := time.NewTicker(max(f.interval/4, 5*time.Millisecond))
	defer tick.Stop()
	beacon := time.NewTimer(time.Hour)
	defer beacon.Stop()
	f.retry = time.NewTimer(0)
	defer f.retry.Stop()
	f.connSeen = f.nc.Stats().Reconnects
	f.lastSign = f.now()
	f.beacons.start(f.now())
	beacon.Reset(f.beacons.wait(f.now()))

	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.inbox.ready:
			f.live(ctx)
		case r := <-f.results:
			f.caughtUp(r)
		case <-f.retry.C:
			f.catchUp(ctx, &wg)
		case state := <-states:
			f.checkConnection()
			if state == nats.CONNECTED && !f.track.complete {
				f.backoff = retryFirst
				f.start(0)
			}
		case <-tick.C:
			f.checkConnection()
			f.watch()
		case <-beacon.C:
			f.sendBeacon()
		}
		if f.beacons.changed {
			f.beacons.changed = false
			beacon.Reset(f.beacons.wait(f.now()))
		}
	}
}

// subscribe holds the live subscription before anything is read, so that
// nothing falls between the two. With RetryOnFailedConnect it succeeds before
// there is a server.
func (f *follower) subscribe(ctx context.Context) (*nats.Subscription, error) {
	for {
		sub, err := f.nc.Subscribe(LiveSubject, f.inbox.put)
		if err == nil {
			// A slow node must grow stale visibly, not drop silently.
			if err = sub.SetPendingLimits(-1, -1); err == nil {
				return sub, nil
			}
			sub.Unsubscribe() //nolint:errcheck // a broken subscription is all there is to lose
		}
		f.failed("subscribe to "+LiveSubject, err)
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(retryMax):
		}
	}
}

// live applies what has arrived, all of it at once, and then asks whether it
// was contiguous.
func (f *follower) live(ctx context.Context) {
	msgs := f.inbox.take()
	if len(msgs) == 0 {
		return
	}
	if len(msgs) > pendingAlarm {
		f.log.Warn("revocations arrive faster than they can be applied", "pending", len(msgs))
	}
	var batch []Event
	for i := range msgs {
		m := &msgs[i]
		if m.beacon {
			continue
		}
		r, err := Decode(m.data)
		if err != nil {
			f.undecodable(m.seq, err)
			continue
		}
		batch = append(batch, Event{Revocation: r, Sequence: m.seq, Time: m.time})
	}
	if err := f.applyBatch(ctx, batch); err != nil {
		// Nothing of it counts: the stream still has it.
		f.track.open()
		f.failed("apply", err)
		f.later()
		return
	}
	var newest *liveMsg
	for i := range msgs {
		m := &msgs[i]
		if m.beacon {
			f.beacons.seen(m.arrival)
			f.update(func(st *Status) { st.Beacons++ })
		}
		switch f.track.live(m.seq, m.time, m.subject, m.previous) {
		case stepJoined:
			newest = m
		case stepGap:
			f.log.Warn("gap in the revocation stream, reading it", "sequence", m.seq, "complete", f.track.last)
			f.update(func(st *Status) { st.Gaps++ })
			f.start(jitter(20 * time.Millisecond))
		case stepRewind:
			f.rewound("a live message has a lower sequence than before")
			newest = nil
		}
	}
	f.update(func(st *Status) {
		st.Head = max(st.Head, msgs[len(msgs)-1].seq)
		st.Pending = f.inbox.len()
	})
	if newest != nil {
		f.prove(newest.time, newest.arrival)
		f.lastSign = f.now()
		f.patience = deafAfter * f.interval
	}
}

// applyBatch calls Apply, which must not run twice at once.
func (f *follower) applyBatch(ctx context.Context, batch []Event) error {
	if len(batch) == 0 {
		return nil
	}
	f.applyMu.Lock()
	defer f.applyMu.Unlock()
	if err := f.apply(ctx, batch); err != nil {
		return err
	}
	f.update(func(st *Status) { st.Events += uint64(len(batch)) })
	return nil
}

// prove records that the view was complete at the server's time at.
func (f *follower) prove(at, arrival time.Time) {
	age := f.offsets.age(arrival, arrival.Sub(f.epoch), at)
	first := f.proof.Load() == nil
	if p := f.proof.Load(); p == nil || !at.Before(p.asOf) {
		f.proof.Store(&proof{asOf: at, arrival: arrival, age: age})
	}
	f.update(func(st *Status) {
		st.ClockBehind = f.offsets.behind()
		st.LastError = ""
	})
	f.advanced(f.track.last)
	if first {
		f.log.Info("revocation stream synced", "sequence", f.track.last, "asof", at)
	}
}

// rewound starts over from the beginning of a stream that is not the one
// followed so far. What was applied stays applied: statements are facts.
func (f *follower) rewound(why string) {
	f.log.Error("revocation stream was recreated, wiped or restored: reading it from the start", "why", why)
	f.origin, f.stream = true, time.Time{}
	f.update(func(st *Status) {
		st.Rewinds++
		st.Sequence, st.Head = 0, 0
	})
	f.stop()
	f.start(jitter(100 * time.Millisecond))
}

// checkConnection reads the stored part again after every reconnect: whatever
// was published meanwhile went past this node.
func (f *follower) checkConnection() {
	n := f.nc.Stats().Reconnects
	if n == f.connSeen || !f.nc.IsConnected() {
		return
	}
	f.update(func(st *Status) { st.Reconnects += n - f.connSeen })
	f.connSeen = n
	f.track.open()
	f.stop()
	f.backoff = retryFirst
	f.start(jitter(20 * time.Millisecond))
}

// watch forces a reconnect when the link is up and yet brings no evidence: a
// server without quorum answers everything but stores nothing.
func (f *follower) watch() {
	now := f.now()
	if !f.nc.IsConnected() {
		f.lastSign = now
		if f.nc.IsClosed() {
			f.failed("connection", errors.New("it was closed; the node stays stale until it is restarted"))
		} else {
			f.failed("connection", errors.New("no NATS server reachable; retrying"))
		}
		return
	}
	if n := f.progress.Load(); n != f.progSeen {
		f.progSeen, f.lastSign = n, now
	}
	if f.lastSign.After(now) || now.Sub(f.lastSign) < f.patience {
		return
	}
	f.lastSign = now
	f.patience = min(f.patience*2, time.Minute) + jitter(f.interval)
	f.failed("beacons", fmt.Errorf("none came back for %d intervals: the server may have lost its quorum, or nobody may publish to %s", deafAfter, SubjectBeacon))
	f.update(func(st *Status) { st.Forced++ })
	if err := f.nc.ForceReconnect(); err != nil {
		f.failed("reconnect", err)
	}
}

// start schedules a catch-up, unless one is running or due sooner.
func (f *follower) start(after time.Duration) {
	if f.reading == nil {
		f.retry.Reset(after)
	}
}

// later schedules a catch-up after a failure.
func (f *follower) later() {
	f.start(f.backoff + jitter(f.backoff))
	f.backoff = min(f.backoff*2, retryMax)
}

// stop ends a running catch-up; its result is ignored.
func (f *follower) stop() {
	if f.reading != nil {
		f.reading.cancel()
		f.reading = nil
	}
}

// jitter returns a random part of d.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}
