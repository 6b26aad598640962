package events

import (
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// beaconKept is how long the stream keeps a beacon: long enough for nodes that
// restart to find a young one, short enough to cost nothing.
const beaconKept = "60s"

// beacons decides when this follower publishes a beacon, after the Trickle
// idea of RFC 6206: wait a random time after the last message seen, and publish
// only if none came. So one an interval flows as long as any node lives, without
// a leader. A statement is as good a proof as a beacon, and a node that is behind
// with statements would only be further behind with beacons.
//
// Whatever makes many nodes send at once must make them send the same, of which
// the server keeps one: each one kept is delivered to all.
type beacons struct {
	interval time.Duration
	due      time.Time
	// unanswered: the last one sent has not come back. The next one says by its ID
	// how far this node has seen, lest it be taken for one that the server has had: a
	// clock that was set back repeats interval numbers.
	unanswered bool
	probing    bool // the next one is for this node alone

	tag   string // marks our own beacons
	count uint64
	sent  [8]time.Time // when the newest ones were sent, by count
	probe time.Time    // when the last probe was asked for
}

// start makes the first beacon due soon: a lone follower of a quiet stream has
// no other evidence.
func (b *beacons) start(now time.Time) {
	b.tag = nuid.Next()
	b.due = now.Add(jitter(b.interval / 50))
}

// heard takes note of messages that arrived.
func (b *beacons) heard(at time.Time) {
	if b.probing {
		return
	}
	b.due = at.Add(b.interval + jitter(b.interval/2))
}

// seen takes note of a beacon that arrived.
func (b *beacons) seen(at time.Time) {
	b.unanswered = false
	b.heard(at)
}

// ask makes a beacon of our own due: only that bounds a clock's error from
// below. Not more often than every few intervals, and nothing that a whole fleet
// may do because it is busy.
func (b *beacons) ask(now time.Time) {
	if now.Sub(b.probe) < 5*b.interval {
		return
	}
	b.probe = now
	b.probing = true
	b.due = now.Add(jitter(b.interval))
}

// wait is how long until the next one is due: never longer than after a message, even
// if the clock was set back meanwhile.
func (b *beacons) wait(now time.Time) time.Duration {
	return min(max(b.due.Sub(now), 0), b.interval+b.interval/2)
}

// next returns the ID and the body of the beacon to send now, and schedules
// another attempt in case this one does not come back. Beacons of several nodes
// in the same interval share an ID, and the server keeps one; so do those of nodes
// that wait in vain after messages of the same interval: in a burst, which each takes at a
// pace of its own, hardly two have had the same message last. seen is the server's time of it.
func (b *beacons) next(now, seen time.Time) (id, body string) {
	number := func(at time.Time) string { return strconv.FormatInt(at.UnixNano()/int64(b.interval), 10) }
	id = "beacon-" + number(now)
	switch {
	case b.probing:
		id += "-" + nuid.Next()
	case b.unanswered:
		id += "-" + number(seen)
	}
	b.unanswered, b.probing = true, false
	b.count++
	b.sent[b.count%uint64(len(b.sent))] = now
	b.due = now.Add(b.interval + jitter(b.interval/2))
	return id, b.tag + " " + strconv.FormatUint(b.count, 10)
}

// own returns when a beacon was sent, if it is one of our newest.
func (b *beacons) own(body []byte) (sent time.Time, ok bool) {
	if len(body) <= len(b.tag) || string(body[:len(b.tag)]) != b.tag {
		return time.Time{}, false
	}
	n, err := strconv.ParseUint(string(body[len(b.tag)+1:]), 10, 64)
	if err != nil || n > b.count || n+uint64(len(b.sent)) <= b.count {
		return time.Time{}, false
	}
	return b.sent[n%uint64(len(b.sent))], true
}

// rearm has the timer fire no later than the next beacon is due. Whatever is heard puts
// that off and leaves the timer alone.
func (f *follower) rearm() {
	if f.fires.IsZero() || f.beacons.due.Before(f.fires) {
		f.fires = f.beacons.due
		f.beacon.Reset(f.beacons.wait(f.now()))
	}
}

// fired sends a beacon, unless it was put off since the timer was set. The clock is not
// asked: it may have been set back.
func (f *follower) fired() {
	early := f.beacons.due.After(f.fires)
	f.fires = time.Time{}
	if !early {
		f.sendBeacon()
	}
}

// sendBeacon publishes a beacon and does not wait for an acknowledgement: the
// proof is that it comes back.
func (f *follower) sendBeacon() {
	id, body := f.beacons.next(f.now(), f.track.newest())
	if f.silent || !f.nc.IsConnected() {
		return
	}
	f.publishBeacon(id, body)
}

// nudge publishes a beacon after the stream's last message, which has expired, so
// that a catch-up has an end to reach. One is enough for all who look for that end.
func (s *Subscriber) nudge(head uint64) {
	if !s.silent {
		s.publishBeacon("nudge-"+strconv.FormatUint(head, 10), "")
	}
}

func (s *Subscriber) publishBeacon(id, body string) {
	m := nats.NewMsg(SubjectBeacon)
	m.Header[nats.MsgIdHdr] = []string{id}
	m.Header["Nats-TTL"] = []string{beaconKept}
	m.Data = []byte(body)
	if err := s.nc.PublishMsg(m); err != nil {
		s.failed("publish a beacon", err)
		return
	}
	s.update(func(st *Status) { st.BeaconsSent++ })
}
