package events

import "time"

// step says what a live message meant for completeness.
type step uint8

const (
	stepJoined    step = iota // contiguous: everything up to it has been applied
	stepPending               // noted; completeness waits for a catch-up
	stepDuplicate             // seen before
	stepGap                   // something before it is missing
	stepRewind                // the sequence went back while time went on
)

// tracker decides what a follower has completely seen. Sequences are the only
// evidence: everything in the stream is republished, so live sequences must
// rise by exactly one. It is a plain state machine; whoever holds the
// follower's baton uses it.
type tracker struct {
	complete bool      // everything alive up to last has been applied
	last     uint64    // highest sequence known complete, also while a gap is open
	lastTime time.Time // its server timestamp

	// While not complete: the contiguous run of live messages that waits to be
	// joined by a catch-up. runHead 0 means none.
	runStart, runHead uint64
	runTime           time.Time

	// Newest sequence seen per subject, to notice what plain contiguity cannot:
	// a recreated stream whose sequence happens to continue ours.
	subjects map[string]uint64
}

// live takes a live message: its sequence, server timestamp, subject, and the
// sequence of its predecessor on the same subject as the server knows it (0 if
// there is none).
func (t *tracker) live(seq uint64, at time.Time, subject string, previous uint64) step {
	var s step
	if t.complete {
		s = t.follow(seq, at, subject, previous)
	} else {
		s = t.collect(seq, at)
	}
	switch s {
	case stepDuplicate:
		return s
	case stepGap, stepRewind:
		clear(t.subjects) // what was missed may have been on any subject
	}
	if t.subjects == nil {
		t.subjects = make(map[string]uint64)
	}
	t.subjects[subject] = seq
	return s
}

func (t *tracker) follow(seq uint64, at time.Time, subject string, previous uint64) step {
	switch {
	case seq == t.last+1 && !at.Before(t.lastTime):
		if !t.succeeds(subject, previous) {
			return t.gap(seq, at)
		}
		t.last, t.lastTime = seq, at
		return stepJoined
	case seq > t.last:
		return t.gap(seq, at)
	case at.After(t.lastTime):
		return t.rewind(seq, at)
	default:
		return stepDuplicate
	}
}

// succeeds reports whether the server's idea of the predecessor on the subject
// agrees with ours. It is what plain contiguity cannot see: a recreated stream
// whose sequence happens to continue the old one. The predecessor may have
// expired, except a beacon's.
func (t *tracker) succeeds(subject string, previous uint64) bool {
	seen, known := t.subjects[subject]
	return !known || previous == seen || previous == 0 && subject != SubjectBeacon
}

// gap stops trusting contiguity from seq on, until a catch-up has looked.
func (t *tracker) gap(seq uint64, at time.Time) step {
	t.complete = false
	t.runStart, t.runHead, t.runTime = seq, seq, at
	return stepGap
}

func (t *tracker) collect(seq uint64, at time.Time) step {
	switch {
	case t.runHead == 0:
		if t.last > 0 && seq <= t.last {
			if at.After(t.lastTime) {
				return t.rewind(seq, at)
			}
			return stepDuplicate
		}
		t.runStart, t.runHead, t.runTime = seq, seq, at
		return stepPending
	case seq == t.runHead+1:
		t.runHead, t.runTime = seq, at
		return stepPending
	case seq > t.runHead:
		// A hole inside the run: only what comes after it is certain. The
		// catch-up has to reach up to here, else another one follows.
		return t.gap(seq, at)
	case at.After(t.runTime):
		return t.rewind(seq, at)
	default:
		return stepDuplicate
	}
}

// rewind forgets all sequences: they belong to a stream that is no more.
func (t *tracker) rewind(seq uint64, at time.Time) step {
	t.reset()
	t.runStart, t.runHead, t.runTime = seq, seq, at
	return stepRewind
}

// newest is the server's time of the newest message seen; 1970 if there is none.
func (t *tracker) newest() time.Time {
	switch {
	case t.runHead > t.last:
		return t.runTime
	case t.last > 0:
		return t.lastTime
	}
	return time.Unix(0, 0)
}

// reset starts over without any knowledge of sequences.
func (t *tracker) reset() { *t = tracker{} }

// open marks the view incomplete, as after a lost connection or a statement
// that could not be applied. Live messages collected so far no longer count.
func (t *tracker) open() {
	t.complete = false
	t.runStart, t.runHead, t.runTime = 0, 0, time.Time{}
	clear(t.subjects)
}

// caughtUp tells the tracker that everything stored up to seq was applied. It
// reports whether the view is complete now; if not, the live run began beyond
// a gap that another catch-up must fill.
func (t *tracker) caughtUp(seq uint64, at time.Time) bool {
	t.last, t.lastTime = seq, at
	if t.runHead != 0 && t.runStart > seq+1 {
		return false
	}
	t.complete = true
	if t.runHead > seq {
		t.last, t.lastTime = t.runHead, t.runTime
	}
	t.runStart, t.runHead, t.runTime = 0, 0, time.Time{}
	return true
}
