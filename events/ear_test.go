package events_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// earRig is a follower that hears when it is told to, and a server that says what it is told to.
type earRig struct {
	*events.Ear
	t      *testing.T
	nc     *nats.Conn // the follower's
	server *nats.Conn
	now    time.Time
	sent   int64
}

func newEar(t *testing.T) *earRig {
	t.Helper()
	srv := natstest.Start(t)
	r := &earRig{t: t, nc: srv.Connect(t), server: srv.Connect(t), now: time.Unix(1_800_000_000, 0)}
	var err error
	if r.Ear, err = events.NewEar(t.Context(), r.nc, func() time.Time { return r.now }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// send is a message that the server stored at an instant; it waits to be heard when this returns.
func (r *earRig) send(seq uint64, at time.Time, subject string, data []byte) {
	r.t.Helper()
	m := nats.NewMsg("quash.live." + subject[len("quash.v1."):])
	m.Header["Nats-Stream"] = []string{events.StreamName}
	m.Header["Nats-Subject"] = []string{subject}
	m.Header["Nats-Sequence"] = []string{strconv.FormatUint(seq, 10)}
	m.Header["Nats-Time-Stamp"] = []string{at.UTC().Format(time.RFC3339Nano)}
	m.Data = data
	if err := r.server.PublishMsg(m); err != nil {
		r.t.Fatal(err)
	}
	r.sent++
	eventually(r.t, "it was received", func() bool { return r.Received() == r.sent })
}

func (r *earRig) beacon(seq uint64, at time.Time) {
	r.t.Helper()
	r.send(seq, at, events.SubjectBeacon, nil)
}

func (r *earRig) statement(seq uint64) {
	r.t.Helper()
	s := sessionRevocation(strconv.FormatUint(seq, 10))
	s.ID, s.At, s.Until = events.NewID(), r.now, r.now.Add(time.Hour)
	data, err := events.Encode(s)
	if err != nil {
		r.t.Fatal(err)
	}
	r.send(seq, r.now, events.SubjectRevoked+".session", data)
}

func (r *earRig) complete(what string, want uint64) {
	r.t.Helper()
	if last, complete := r.Complete(); last != want || !complete {
		r.t.Errorf("%s: complete up to %d (%v), want %d", what, last, complete, want)
	}
}

// TestWhatWaitedJoinsNothingBehindANewLink: the stream there may have lost it, and have something else under its number.
func TestWhatWaitedJoinsNothingBehindANewLink(t *testing.T) {
	t.Parallel()
	r := newEar(t)
	r.Read(100, r.now, r.now)
	r.beacon(101, r.now)
	if err := r.nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "connected again", func() bool { return r.nc.Stats().Reconnects == 1 && r.nc.IsConnected() && r.nc.Flush() == nil })
	r.beacon(102, r.now) // taken together with what waited
	r.Hear(t.Context())
	r.Read(100, r.now, r.now)
	r.complete("an older copy was read", 100)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.WaitApplied(gone, events.Position{Sequence: 101}); !errors.Is(err, context.Canceled) {
		t.Errorf("a receipt for 101: %v", err)
	}
	r.beacon(103, r.now)
	r.Hear(t.Context())
	if _, complete := r.Complete(); complete {
		t.Error("102 may be another, and 103 is said to be contiguous")
	}
	r.Read(102, r.now, r.now)
	r.complete("it was read again", 103)
}

// TestWhatWaitedJoinsNothingOfAnotherStream: a reading finds that the stream was exchanged while messages of before wait.
func TestWhatWaitedJoinsNothingOfAnotherStream(t *testing.T) {
	t.Parallel()
	r := newEar(t)
	r.Read(100, r.now, r.now)
	r.beacon(101, r.now)
	r.Another()
	r.Hear(t.Context())
	r.Read(100, r.now, r.now)
	r.complete("the other stream was read", 100)
	if st := r.Status(); st.Head != 100 {
		t.Errorf("its head is said to be %d, want 100", st.Head)
	}
}

// TestMessageThatWaitsForItsTurnIsOfTheStreamBefore: it was received, and is perhaps in no queue any more, when the follower learns that
// the stream is another. Taken together with one that came later, only that one is of the new stream.
func TestMessageThatWaitsForItsTurnIsOfTheStreamBefore(t *testing.T) {
	t.Parallel()
	r := newEar(t)
	r.statement(101)
	r.Another()
	r.statement(1)
	r.Hear(t.Context())
	if len(r.Eras) != 2 || r.Eras[0] != 0 || r.Eras[1] != 1 {
		t.Errorf("what waited and what came later are said to be of the streams %v, want 0 and 1", r.Eras)
	}
}

// TestEachMessageIsJudgedByItsOwnArrival: a live message that came after the reading had ended, and before its end was looked at, did not
// arrive before it was stored.
func TestEachMessageIsJudgedByItsOwnArrival(t *testing.T) {
	t.Parallel()
	r := newEar(t)
	ended := r.now
	r.now = ended.Add(5 * time.Millisecond)
	r.beacon(6, r.now.Add(-time.Millisecond))
	r.Hear(t.Context())
	r.now = r.now.Add(5 * time.Millisecond)
	r.Read(5, ended.Add(-time.Millisecond), ended)
	r.complete("joined", 6)
	if st := r.Status(); st.ClockBehind != 0 {
		t.Errorf("the clock is said to be %v behind", st.ClockBehind)
	}
	if f := r.Freshness(r.now); f.Staleness != 6*time.Millisecond {
		t.Errorf("the view is said to be %v old, want 6ms", f.Staleness)
	}
}

// TestAnotherStreamByAClockThatIsBehind: by their numbers and times its messages have all been seen before.
func TestAnotherStreamByAClockThatIsBehind(t *testing.T) {
	t.Parallel()
	r := newEar(t)
	r.Read(100, r.now, r.now)
	for seq := uint64(1); seq <= 4; seq++ {
		r.complete("a few that are old may have been late", 100)
		r.now = r.now.Add(time.Second)
		r.beacon(seq, r.now.Add(-20*time.Second))
		r.Hear(t.Context())
	}
	if _, complete := r.Complete(); complete {
		t.Error("nothing that comes is news, and the stream is not looked at")
	}
	r.Another()
	r.Read(4, r.now.Add(-20*time.Second), r.now)
	r.complete("the other stream was read", 4)
}
