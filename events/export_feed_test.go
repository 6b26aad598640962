package events

import "time"

// What the external tests may see of the follower's inner parts.

type Tracker = tracker

const (
	StepJoined    = stepJoined
	StepPending   = stepPending
	StepDuplicate = stepDuplicate
	StepGap       = stepGap
	StepRewind    = stepRewind
)

type Step = step

func (t *tracker) Live(seq uint64, at time.Time, subject string, previous uint64) Step {
	return t.live(seq, at, subject, previous)
}
func (t *tracker) CaughtUp(seq uint64, at time.Time) bool { return t.caughtUp(seq, at) }
func (t *tracker) Open()                                  { t.open() }
func (t *tracker) Reset()                                 { t.reset() }
func (t *tracker) Complete() (uint64, bool)               { return t.last, t.complete }

type Offsets = offsets

func (o *offsets) Age(wall time.Time, mono time.Duration, server time.Time) time.Duration {
	return o.age(wall, mono, server)
}
func (o *offsets) Behind() time.Duration { return o.behind() }

// ProofFreshness evaluates a proof made at arrival.
func ProofFreshness(asOf, arrival time.Time, age time.Duration, now time.Time) Freshness {
	return (&proof{asOf: asOf, arrival: arrival, age: age}).freshness(now)
}

var Position = position
