package events_test

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// TestAgeIsNeverLessThanTheTruth: the true age of a message may be
// underestimated by no more than the smallest delay a clock that is behind can
// hide, and never with a clock that is right or ahead.
func TestAgeIsNeverLessThanTheTruth(t *testing.T) {
	t.Parallel()
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 2))
		wrong := func() time.Duration { return time.Duration(rng.Int64N(int64(4*time.Hour))) - 2*time.Hour }
		clockError := wrong()
		var o events.Offsets
		truth := time.Unix(1_700_000_000, 0)
		start := truth
		least := time.Duration(1 << 62)
		for range 50 {
			truth = truth.Add(time.Duration(rng.Int64N(int64(time.Second))))
			if seed%2 == 1 && rng.IntN(10) == 0 {
				clockError = wrong() // somebody sets the clock
			}
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

// TestClockSetBackDuringASilence: the first message after it is late, and not new.
func TestClockSetBackDuringASilence(t *testing.T) {
	t.Parallel()
	server := time.Unix(1_700_000_000, 0)
	var o events.Offsets
	o.Age(server.Add(time.Millisecond), 0, server)
	late := 9 * time.Second
	if age := o.Age(server.Add(time.Second+late-time.Hour), time.Second+late, server.Add(time.Second)); age < late-time.Millisecond {
		t.Errorf("age %v of a message that is %v late", age, late)
	}
	// A machine that slept for an hour after that: its clock is as wrong as before.
	at := server.Add(2 * time.Hour)
	if age := o.Age(at.Add(late-time.Hour), time.Minute, at); age > late {
		t.Errorf("age %v of a message that is %v late", age, late)
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

// TestOwnBeaconUndoesAWrongOffset: the server's clock was ahead for a moment, or
// ours was slewed. What was learnt then must not age the view for ever.
func TestOwnBeaconUndoesAWrongOffset(t *testing.T) {
	t.Parallel()
	local := time.Unix(1_700_000_000, 0)
	var o events.Offsets
	o.Age(local, 0, local.Add(4*time.Second)) // the server's clock is 4 s ahead
	server := local.Add(time.Second)          // and right again
	if age := o.Age(server, time.Second, server); age != 4*time.Second {
		t.Fatalf("age %v, want 4s: the lesson of before", age)
	}
	o.AtLeast(-10 * time.Millisecond) // our own beacon was stored at most 10 ms after it was sent
	server = server.Add(time.Second)
	if age := o.Age(server, 2*time.Second, server); age != 10*time.Millisecond {
		t.Errorf("age %v, want 10ms", age)
	}
	o.AtLeast(-time.Hour) // a looser bound changes nothing
	if age := o.Age(server, 2*time.Second, server); age != 10*time.Millisecond {
		t.Errorf("age %v, want 10ms", age)
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
		seq, delivery, got, pending, err := events.ReplyPosition(reply)
		if err != nil || seq != 42 || delivery != 7 || pending != 9 || !got.Equal(at) {
			t.Errorf("%s: got %d %d %v %d %v", reply, seq, delivery, got, pending, err)
		}
	}
	for _, reply := range []string{"", "_INBOX.x", "$JS.ACK.QUASH.reader.1.x.7.1.9", "$JS.ACK.QUASH.reader.1.-1.7.1.9"} {
		if _, _, _, _, err := events.ReplyPosition(reply); err == nil {
			t.Errorf("%q: no error", reply)
		}
	}
}

// TestApplyingIsNoDelayOfTheNetwork: a clock that is behind hides the smallest delay seen, but not for how long the first reading was
// applied after it had come to its end.
func TestApplyingIsNoDelayOfTheNetwork(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	ensure(t, nc)
	publish(t, publisher(t, nc), sessionRevocation("stored"))
	var passed atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(passed.Load()) - time.Hour) }
	s, err := events.NewSubscriber(events.SubscriberConfig{Conn: srv.Connect(t), Silent: true, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- s.Run(ctx, func(context.Context, []events.Event) error {
			passed.Store(int64(time.Minute))
			return nil
		})
	}()
	defer func() { cancel(); <-done }()
	eventually(t, "synced", func() bool { return s.Freshness(now()).Synced })
	if f := s.Freshness(now()); f.Staleness < time.Minute {
		t.Errorf("it was applied for a minute, and the view is said to be %v old", f.Staleness)
	}
}
