package events_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
)

// modelStream is a naive stream with a log, as the tracker's opposite.
type modelStream struct {
	lineage int // changes when the stream is recreated
	log     []modelMsg
	clock   time.Time
}

type modelMsg struct {
	id       int // unique over all lineages
	seq      uint64
	at       time.Time
	subject  string
	previous uint64
}

func (m *modelStream) publish(id int, subject string) modelMsg {
	m.clock = m.clock.Add(time.Millisecond)
	msg := modelMsg{id: id, seq: uint64(len(m.log)) + 1, at: m.clock, subject: subject}
	for _, o := range m.log {
		if o.subject == subject {
			msg.previous = o.seq
		}
	}
	m.log = append(m.log, msg)
	return msg
}

// TestTrackerNeverClaimsWhatItMissed drives the tracker with lost, repeated and
// delayed messages, disconnects and recreated streams. Whenever it calls a
// message joined, everything before it in the stream must have been applied.
func TestTrackerNeverClaimsWhatItMissed(t *testing.T) {
	t.Parallel()
	subjects := []string{events.SubjectBeacon, events.SubjectBeacon, events.SubjectRevoked + ".token", events.SubjectRevoked + ".session"}
	var joined, gaps, rewinds, undetected int
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		stream := &modelStream{clock: time.Unix(1_700_000_000, 0)}
		known := 0 // lineage the tracker was told about by a catch-up
		applied := make(map[int]bool)
		var track events.Tracker
		reading := true // a catch-up is wanted
		origin := true
		id := 0
		var held []modelMsg // delayed duplicates

		catchUp := func() {
			if stream.lineage != known {
				track.Reset()
				known, origin = stream.lineage, true
			}
			for _, m := range stream.log {
				applied[m.id] = true
			}
			head := uint64(len(stream.log))
			at := time.Time{}
			if head > 0 {
				at = stream.log[head-1].at
			}
			origin = false
			reading = !track.CaughtUp(head, at)
		}
		deliver := func(m modelMsg) {
			applied[m.id] = true
			switch track.Live(m.seq, m.at, m.subject, m.previous) {
			case events.StepJoined:
				joined++
				if undetected > 0 {
					undetected--
				}
				for _, o := range stream.log[:m.seq] {
					if !applied[o.id] {
						t.Fatalf("seed %d: sequence %d joined although %d was never applied", seed, m.seq, o.seq)
					}
				}
			case events.StepGap:
				gaps++
				reading = true
			case events.StepRewind:
				rewinds++
				reading, origin = true, true
			}
		}
		for range 200 {
			switch p := rng.IntN(100); {
			case p < 70:
				id++
				m := stream.publish(id, subjects[rng.IntN(len(subjects))])
				if rng.IntN(12) > 0 { // else lost without a trace
					deliver(m)
					if rng.IntN(10) == 0 {
						held = append(held, m)
					}
				}
			case p < 75 && len(held) > 0:
				m := held[0]
				held = held[1:]
				if m.seq <= uint64(len(stream.log)) && stream.log[m.seq-1].id == m.id {
					deliver(m)
				}
			case p < 90:
				if reading {
					catchUp()
				}
			case p < 93: // a disconnect: some messages pass by
				for range rng.IntN(4) {
					id++
					stream.publish(id, subjects[rng.IntN(len(subjects))])
				}
				track.Open()
				reading = true
			case p < 95: // recreated; the first message of the new stream arrives
				stream.lineage++
				stream.log = nil
				held = nil
				id++
				deliver(stream.publish(id, events.SubjectBeacon))
				reading = true
			}
		}
		_ = origin
	}
	if joined < 10_000 || gaps < 1000 || rewinds < 1000 {
		t.Fatalf("the walk hardly exercised the tracker: %d joined, %d gaps, %d rewinds", joined, gaps, rewinds)
	}
}

// TestTrackerSeesARecreatedStreamThatContinuesOurNumbers: all messages up to our
// own sequence were missed, the next one continues it, and only the predecessor
// on its subject tells.
func TestTrackerSeesARecreatedStreamThatContinuesOurNumbers(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_700_000_000, 0)
	follow := func(t *testing.T) *events.Tracker {
		var track events.Tracker
		if !track.CaughtUp(4, at) {
			t.Fatal("an empty run must join")
		}
		if got := track.Live(5, at.Add(1), events.SubjectBeacon, 3); got != events.StepJoined {
			t.Fatalf("first beacon: got step %d, want joined", got)
		}
		return &track
	}
	for name, previous := range map[string]uint64{"a beacon we never saw": 4, "an older beacon": 2, "no beacon at all": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := follow(t).Live(6, at.Add(2), events.SubjectBeacon, previous); got != events.StepGap {
				t.Errorf("got step %d, want a gap that makes the follower look", got)
			}
		})
	}
	if got := follow(t).Live(6, at.Add(2), events.SubjectBeacon, 5); got != events.StepJoined {
		t.Errorf("the true successor: got step %d, want joined", got)
	}
}

func TestTrackerRewind(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_700_000_000, 0)
	var track events.Tracker
	track.CaughtUp(100, at)
	if got := track.Live(100, at, events.SubjectBeacon, 99); got != events.StepDuplicate {
		t.Errorf("a repeated message: got step %d, want duplicate", got)
	}
	if got := track.Live(7, at.Add(time.Second), events.SubjectBeacon, 6); got != events.StepRewind {
		t.Errorf("a lower sequence with a later time: got step %d, want rewind", got)
	}
	if _, complete := track.Complete(); complete {
		t.Error("complete right after a rewind")
	}
	if track.CaughtUp(5, at.Add(time.Second)) {
		t.Error("joined although sequence 6 was never read")
	}
	if !track.CaughtUp(6, at.Add(time.Second)) {
		t.Error("not joined although everything up to the run was read")
	}
	if last, _ := track.Complete(); last != 7 {
		t.Errorf("complete up to %d, want 7", last)
	}
}
