package events

import "time"

// offsets turns a server timestamp into an age on this node's clock, without
// trusting that clock more than it deserves. Whoever holds the follower's baton uses it.
type offsets struct {
	min  time.Duration // smallest arrival − server timestamp, by the wall clock as it is now
	wall time.Time     // arrival of the previous message, by both clocks
	mono time.Duration
	have bool
}

// age returns how long before its arrival the server stored a message, never
// less than this node can prove wrong. The arrival is given by the wall clock
// and as monotonic time since some fixed instant.
//
// A clock that runs behind shows itself: messages seem to arrive before they
// were stored. The smallest such difference is how far it is behind at least,
// and is taken out. A clock that runs ahead cannot be told from a slow network;
// it counts as age, which is the safe side.
//
// What a wall clock was moved by shows against the monotonic one, and the smallest
// difference moves along: were it forgotten, the first message after a clock was set
// back could be late by any time and count as new. A machine that slept looks
// like a clock set ahead; the next message puts that right.
func (o *offsets) age(wall time.Time, mono time.Duration, server time.Time) time.Duration {
	wall = wall.Round(0)
	off := wall.Sub(server)
	if o.have {
		o.min += wall.Sub(o.wall) - (mono - o.mono)
	}
	if !o.have || off < o.min {
		o.min, o.have = off, true
	}
	o.wall, o.mono = wall, mono
	if o.min < 0 {
		return off - o.min
	}
	return off
}

// atLeast takes a lower bound of the clock's error (this clock minus the
// server's): a message of our own cannot have been stored before it was sent.
// It undoes a smallest difference that was true once, before one of the two
// clocks was set right.
func (o *offsets) atLeast(bound time.Duration) {
	if o.have && o.min < bound {
		o.min = bound
	}
}

// behind returns by how much the node's clock is provably behind, or 0.
func (o *offsets) behind() time.Duration {
	if !o.have || o.min >= 0 {
		return 0
	}
	return -o.min
}

// proof is the newest evidence of completeness. It is immutable once shared.
type proof struct {
	asOf    time.Time     // server timestamp of the newest contiguous message
	arrival time.Time     // when it arrived here, wall and monotonic
	age     time.Duration // how old it was on arrival
}

// freshness evaluates p at now. Elapsed time is the larger of what the
// monotonic and the wall clock say: the monotonic clock stands still while a
// machine is suspended, the wall clock can be set back, and neither may make
// the view look fresher than it is.
func (p *proof) freshness(now time.Time) Freshness {
	if p == nil {
		return Freshness{}
	}
	elapsed := max(now.Sub(p.arrival), now.Round(0).Sub(p.arrival.Round(0)), 0)
	return Freshness{Synced: true, AsOf: p.asOf, Staleness: p.age + elapsed}
}
