package events

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// catchUpResult is what reading the stored part came to.
type catchUpResult struct {
	attempt uint64
	err     error
	created time.Time // of the stream that was read; zero: it was not reached
	layout  Layout
	rewound string // why the stream is not the one followed so far, if so
	// reached is how far everything stored was applied, also when err is not
	// nil. Its sequence is 0 if the reading did not begin where it must.
	reached anchor
	anchor  anchor    // a long-lived message that was read
	arrival time.Time // of reached; zero: now
}

// anchor is a message of the stream, remembered to recognise the stream by: a
// stream that holds the same sequence with the same timestamp has the same past.
type anchor struct {
	seq   uint64
	at    time.Time // server timestamp
	until time.Time // how long the stream keeps it, if that is known
}

// offer replaces the anchor by a message that the stream keeps at least as long.
func (a *anchor) offer(seq uint64, at, until time.Time) {
	if !until.IsZero() && !until.Before(a.until) {
		*a = anchor{seq: seq, at: at, until: until}
	}
}

// reading is a catch-up under way.
type reading struct {
	attempt  uint64
	cancel   context.CancelFunc
	since    time.Time
	progress uint64       // of all catch-ups, when it began
	made     atomic.Int64 // when its reader was, in Unix nanoseconds; 0: it has not been asked for; shared with the catch-up
}

// beingMade is what made says meanwhile.
const beingMade = math.MaxInt64

// catchUp starts reading the stored part, unless that is under way.
func (f *follower) catchUp(ctx context.Context, wg *sync.WaitGroup) {
	if f.reading != nil {
		return
	}
	if !f.nc.IsConnected() || f.readers.Load() > 0 {
		f.later() // also while an abandoned one is stuck in Apply
		return
	}
	f.attempt++
	ctx, cancel := context.WithCancel(ctx)
	f.reading = &reading{attempt: f.attempt, cancel: cancel, since: f.now(), progress: f.progress.Load()}
	f.update(func(st *Status) { st.CatchUps++ })
	c := &catchUp{
		Subscriber: f.Subscriber, apply: f.applyBatch, progress: &f.progress, made: &f.reading.made,
		stream: f.stream, wait: infoWait(f.backoff), last: anchor{seq: f.track.last, at: f.track.lastTime}, event: f.anchor, origin: f.origin, era: f.rewinds,
	}
	attempt := f.attempt
	f.readers.Add(1)
	wg.Go(func() {
		defer cancel()
		r := c.run(ctx)
		f.readers.Add(-1)
		r.attempt = attempt
		select {
		case f.results <- r:
		case <-ctx.Done():
		}
	})
}

// revived is called for the first live message since the view was opened: the
// stream works. What was asked while it had no leader is lost, and what was put off
// since then need not be: ask again, once.
func (f *follower) revived() {
	f.again = false
	if r := f.reading; r != nil {
		if f.progress.Load() != r.progress {
			return // it is being answered
		}
		if now := f.now(); min(now.Sub(r.since), now.Sub(time.Unix(0, r.made.Load()))) < infoWait(retryFirst) {
			f.again = true // it may be yet
			return
		}
		f.stop()
	}
	f.backoff = retryFirst
	f.start(jitter(f.interval / 4))
}

// caughtUp takes the result of a catch-up.
func (f *follower) caughtUp(r catchUpResult) {
	f.checkConnection() // a link that broke under the reading makes it worthless
	if f.reading == nil || f.reading.attempt != r.attempt {
		return // abandoned meanwhile
	}
	f.reading = nil
	if r.rewound != "" {
		f.track.reset()
		f.foreign = f.received()
		f.rewound(r.rewound)
		return
	}
	if !r.created.IsZero() { // and not before: Sequence and Created are said of the same stream
		f.stream = r.created
		f.update(func(st *Status) { st.Created, st.Layout = r.created, r.layout })
	}
	if r.reached.seq > 0 || r.err == nil {
		f.origin = false
		f.anchor.offer(r.anchor.seq, r.anchor.at, r.anchor.until)
	}
	if r.err != nil {
		if r.reached.seq > 0 {
			f.track.last, f.track.lastTime = r.reached.seq, r.reached.at // the next one goes on from here
		}
		f.failed("read the stored revocations", r.err)
		f.later()
		return
	}
	f.backoff, f.again = retryFirst, false
	f.turn.end()
	f.watchdog.alive(f.now())
	f.watchdog.advanced = f.now()
	joined := f.track.caughtUp(r.reached.seq, r.reached.at)
	f.update(func(st *Status) {
		st.Head = max(st.Head, r.reached.seq)
		st.LastError = ""
	})
	if !joined {
		f.start(jitter(20 * time.Millisecond))
		return
	}
	// What was read is evidence as good as a live message: the server's time
	// says how old it is, each by its own arrival. An empty stream gives none; a beacon will.
	now := f.now()
	switch {
	case f.track.last > r.reached.seq:
		f.prove(f.track.lastTime, f.joins, now)
	case !r.reached.at.IsZero() && r.arrival.IsZero(): // it was known before
		f.prove(r.reached.at, now, now)
	case !r.reached.at.IsZero():
		f.prove(r.reached.at, r.arrival, now)
	default:
		f.advanced(f.track.last)
	}
}
