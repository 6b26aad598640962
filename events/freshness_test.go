package events_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
)

// TestAgeIsNeverLessThanTheTruth: the true age of a message may be
// underestimated by no more than the smallest delay a clock that is behind can
// hide, and never with a clock that is right or ahead.
func TestAgeIsNeverLessThanTheTruth(t *testing.T) {
	t.Parallel()
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 2))
		clockError := time.Duration(rng.Int64N(int64(4*time.Hour))) - 2*time.Hour
		var o events.Offsets
		truth := time.Unix(1_700_000_000, 0)
		start := truth
		least := time.Duration(1 << 62)
		for range 50 {
			truth = truth.Add(time.Duration(rng.Int64N(int64(time.Second))))
			delay := time.Duration(rng.Int64N(int64(30 * time.Second)))
			least = min(least, delay)
			age := o.Age(truth.Add(delay+clockError), truth.Add(delay).Sub(start), truth)
			hidden := time.Duration(0)
			if clockError < 0 {
				hidden = min(least, -clockError)
			}
			if age < delay-hidden {
				t.Fatalf("seed %d, clock error %v: age %v of a message that is %v old (at most %v can hide)", seed, clockError, age, delay, hidden)
			}
		}
	}
}

func TestClockBehindIsReported(t *testing.T) {
	t.Parallel()
	server := time.Unix(1_700_000_000, 0)
	var o events.Offsets
	if age := o.Age(server.Add(-time.Hour), 0, server); age != 0 {
		t.Errorf("age %v, want 0", age)
	}
	if got := o.Behind(); got != time.Hour {
		t.Errorf("behind by %v, want 1h", got)
	}
	// The same wrong clock, a message that was held up for a minute.
	if age := o.Age(server.Add(-time.Hour+time.Minute), time.Minute, server); age != time.Minute {
		t.Errorf("age of a delayed message %v, want 1m", age)
	}
}

// TestClockStepForgetsOldOffsets: a wall clock that is set right again must not
// leave the node stale for ever.
func TestClockStepForgetsOldOffsets(t *testing.T) {
	t.Parallel()
	server := time.Unix(1_700_000_000, 0)
	var o events.Offsets
	o.Age(server.Add(-time.Hour), 0, server)
	for i := range 3 {
		at := server.Add(time.Duration(i+1) * time.Second)
		if age := o.Age(at, time.Duration(i+1)*time.Second, at); age != 0 {
			t.Errorf("age %v after the clock was set right, want 0", age)
		}
	}
	if o.Behind() != 0 {
		t.Errorf("still behind by %v", o.Behind())
	}
	// Without a step, an hour is an hour.
	at := server.Add(time.Hour)
	if age := o.Age(at.Add(time.Hour), 2*time.Hour, at); age != time.Hour {
		t.Errorf("age %v of a message that was held up for 1h", age)
	}
}

func TestFreshnessGrowsByTheWorseClock(t *testing.T) {
	t.Parallel()
	arrival := time.Unix(1_700_000_000, 0)
	asOf := arrival.Add(-time.Second)
	tests := map[string]struct {
		now  time.Time
		want time.Duration
	}{
		"time passes":          {arrival.Add(5 * time.Second), 6 * time.Second},
		"wall clock set ahead": {arrival.Add(time.Hour), time.Hour + time.Second},
		"wall clock set back":  {arrival.Add(-time.Hour), time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := events.ProofFreshness(asOf, arrival, time.Second, tt.now)
			if got.Staleness != tt.want || !got.Synced || !got.AsOf.Equal(asOf) {
				t.Errorf("got %+v, want staleness %v", got, tt.want)
			}
		})
	}
}

func TestPosition(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_700_000_000, 123).UTC()
	for _, reply := range []string{
		"$JS.ACK.QUASH.reader.1.42.7.1700000000000000123.9",
		"$JS.ACK.hub.ACCHASH.QUASH.reader.1.42.7.1700000000000000123.9.tok",
	} {
		seq, got, pending, err := events.Position(reply)
		if err != nil || seq != 42 || pending != 9 || !got.Equal(at) {
			t.Errorf("%s: got %d %v %d %v", reply, seq, got, pending, err)
		}
	}
	for _, reply := range []string{"", "_INBOX.x", "$JS.ACK.QUASH.reader.1.x.7.1.9", "$JS.ACK.QUASH.reader.1.-1.7.1.9"} {
		if _, _, _, err := events.Position(reply); err == nil {
			t.Errorf("%q: no error", reply)
		}
	}
}
