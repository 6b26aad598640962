package events

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
)

// hear applies what arrives.
func (f *follower) hear(ctx context.Context, inbox <-chan *nats.Msg) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-inbox:
			f.do(func() {
				msgs := f.take(m, inbox)
				f.checkConnection() // they may come from behind a new connection
				f.live(ctx, msgs)
			})
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
	for i := range msgs {
		m := &msgs[i]
		if m.beacon {
			continue
		}
		r, err := Decode(m.data)
		if err != nil {
			f.undecodable(m.seq, m.time, m.named, m.kept, err)
			continue
		}
		m.until = r.Until
		batch = append(batch, Event{Revocation: r, Sequence: m.seq, Time: m.time, Kept: m.kept, Rewinds: f.era(m)})
	}
	if err := f.applyBatch(ctx, batch); err != nil {
		// Nothing of it counts: the stream still has it.
		f.track.open()
		f.failed("apply", err)
		f.later()
	} else {
		f.follow(msgs)
	}
	clear(batch)
	f.batch = batch[:0]
	clear(msgs)
}

// follow asks of every applied message whether it was contiguous. What waited when the link or
// the stream turned out to be another says nothing of the one that is read now: were it joined
// to that reading, the node would have statements by number that it has never seen.
func (f *follower) follow(msgs []liveMsg) {
	var newest, last *liveMsg
	for i := range msgs {
		m := &msgs[i]
		if m.beacon {
			f.passed(m)
		}
		if m.number <= f.foreign {
			continue
		}
		last = m
		switch f.track.live(m.seq, m.time, m.subject, m.previous) {
		case stepJoined:
			newest = m
			f.anchor.offer(m.seq, m.time, m.until)
		case stepPending:
			f.joins = m.arrival
			if f.track.runStart == f.track.runHead {
				f.revived()
			}
		case stepGap:
			f.joins = m.arrival
			f.log.Warn("gap in the revocation stream, reading it", "sequence", m.seq, "complete", f.track.last)
			f.update(func(st *Status) { st.Gaps++ })
			f.start(jitter(20 * time.Millisecond))
		case stepDuplicate:
			// Seen before, by its number and time: if that is all that comes, it is of another stream, by a clock that is behind.
			if f.track.complete && f.watchdog.stuck(m.arrival) {
				f.track.open()
				f.start(jitter(20 * time.Millisecond))
			}
		case stepRewind:
			f.joins = m.arrival
			f.rewound("a live message has a lower sequence than before")
			newest = nil
		}
	}
	if newest != last { // else advancing says it
		f.update(func(st *Status) { st.Head = max(st.Head, last.seq) })
	}
	if newest != nil {
		now := f.now()
		f.prove(newest.time, newest.arrival, now)
		f.watchdog.proven(now)
	}
}

// passed takes a beacon into account, whoever sent it.
func (f *follower) passed(m *liveMsg) {
	f.beacons.seen(m.arrival)
	f.update(func(st *Status) { st.Beacons++ })
	if sent, ok := f.beacons.own(m.data); ok {
		// Stored after it was sent: the local time of sending, told back from
		// the arrival so that no clock step lies between, bounds the error.
		sentAt := m.arrival.Round(0).Add(-m.arrival.Sub(sent))
		f.offsets.atLeast(sentAt.Sub(m.time))
	}
}
