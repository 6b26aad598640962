package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/quash-auth/quash/events"
)

// which of the acknowledgements of a while is looked at.
const (
	quickest = 0.0
	median   = 0.5
	slowest  = 1.0
)

// atLeast wants one of the acknowledgements of what was asked for after an instant to have taken a while.
func (l *ledger) atLeast(after time.Time, d time.Duration, rank float64) (string, error) {
	var took []time.Duration
	for _, t := range l.since(0) {
		if asked := time.Unix(0, t.asked.Load()); asked.After(after) {
			took = append(took, time.Unix(0, t.acked.Load()).Sub(asked))
		}
	}
	if len(took) == 0 {
		return "nothing acknowledged", nil
	}
	slices.SortFunc(took, cmp.Compare)
	got := took[int(rank*float64(len(took)-1))]
	text := fmt.Sprintf("%s acknowledgement after %v", map[float64]string{quickest: "quickest", median: "median", slowest: "slowest"}[rank], got.Round(time.Millisecond))
	if got < d {
		return text, fmt.Errorf("%s, want %v at the least", text, d)
	}
	return text, nil
}

// refusals counts the attempts that the stream refused because it is full.
func (l *ledger) refusals() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.full
}

// noAck notes that a revocation was not acknowledged.
func (l *ledger) noAck(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost++
	if errors.Is(err, events.ErrFull) {
		l.full++
	}
}
