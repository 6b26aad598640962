package events

import (
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// beaconKept is how long the stream keeps a beacon: long enough for nodes that
// restart to find a young one, short enough to cost nothing.
const beaconKept = "60s"

// beacons decides when this follower publishes a beacon, after the Trickle
// idea of RFC 6206: wait a random time after the last beacon seen, and publish
// only if none came. So one beacon an interval flows as long as any node
// lives, without a leader.
type beacons struct {
	interval time.Duration
	due      time.Time
	changed  bool // due has moved
}

// start makes the first beacon due soon: a lone follower of a quiet stream has
// no other evidence.
func (b *beacons) start(now time.Time) {
	b.due = now.Add(jitter(b.interval / 50))
	b.changed = true
}

// seen takes note of a beacon that arrived at the given time.
func (b *beacons) seen(at time.Time) {
	b.due = at.Add(b.interval + jitter(b.interval/2))
	b.changed = true
}

// sent schedules the next attempt, in case this one does not come back.
func (b *beacons) sent(now time.Time) {
	b.due = now.Add(b.interval + jitter(b.interval/2))
	b.changed = true
}

func (b *beacons) wait(now time.Time) time.Duration { return max(b.due.Sub(now), 0) }

// sendBeacon publishes a beacon and does not wait for an acknowledgement: the
// proof is that it comes back. Beacons of the same interval from several nodes
// share an ID, and the server keeps one.
func (f *follower) sendBeacon() {
	now := f.now()
	f.beacons.sent(now)
	if f.silent || !f.nc.IsConnected() {
		return
	}
	id := "beacon-" + strconv.FormatInt(now.UnixNano()/int64(f.interval), 10)
	f.publishBeacon(id)
}

// nudge publishes a beacon that no deduplication can swallow. A catch-up uses
// it when the stream's last message has expired, so that there is an end to
// reach.
func (s *Subscriber) nudge(id string) {
	if !s.silent {
		s.publishBeacon("nudge-" + id)
	}
}

func (s *Subscriber) publishBeacon(id string) {
	m := nats.NewMsg(SubjectBeacon)
	m.Header[nats.MsgIdHdr] = []string{id}
	m.Header["Nats-TTL"] = []string{beaconKept}
	if err := s.nc.PublishMsg(m); err != nil {
		s.failed("publish a beacon", err)
		return
	}
	s.update(func(st *Status) { st.BeaconsSent++ })
}
