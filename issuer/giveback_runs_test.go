package issuer_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// TestGivingBackWaitsOnceForOldIDs: one ID of each run was used up by somebody else, and what used it is gone. Only the first run waits for it. What has
// ended meanwhile is left out.
func TestGivingBackWaitsOnceForOldIDs(t *testing.T) {
	t.Parallel()
	s := server(t)
	r := start(t, s.URL(), func(*issuer.Config) {})
	until(t, "it has read the stream", func() bool { return r.Ready() == nil })
	js, err := jetstream.New(s.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	p, err := events.NewPublisher(events.PublisherConfig{Conn: r.cfg.Conn, By: "policy"})
	if err != nil {
		t.Fatal(err)
	}
	const runs, each = 3, 250
	lost, old := make([]events.Revocation, runs*each), map[string]int{}
	for n := range lost {
		lost[n] = events.Revocation{ID: fmt.Sprint("old-", n), Issuer: iss, Scope: events.Session, Key: fmt.Sprint("s", n)}
		if n == 1 {
			lost[n].Until = time.Now().Add(-time.Minute)
		}
		if lost[n], err = p.Complete(within(t), lost[n]); err != nil && n != 1 {
			t.Fatal(err)
		}
		old[lost[n].ID] = n
	}
	stream, err := js.Stream(within(t), events.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	for n := 0; n < len(lost); n += 50 { // wherever the runs begin
		m := nats.NewMsg(events.SubjectBeacon)
		m.Header.Set(nats.MsgIdHdr, lost[n].ID)
		m.Header.Set("Nats-TTL", "1s")
		ack, err := js.PublishMsg(within(t), m)
		if err != nil {
			t.Fatal(err)
		}
		last = ack.Sequence
	}
	until(t, "what used the IDs is gone", func() bool {
		_, err := stream.GetMsg(t.Context(), last)
		return errors.Is(err, jetstream.ErrMsgNotFound)
	})
	if err := issuer.PublishLost(within(t), r.Issuer, lost); err != nil {
		t.Fatal(err)
	}
	var kept []int
	there := map[string]bool{}
	for _, st := range r.statements() {
		there[st.Key] = true
		if n, is := old[st.ID]; is {
			kept = append(kept, n)
		}
	}
	if len(there) != len(lost)-1 {
		t.Errorf("%d of %d came back", len(there), len(lost)-1)
	}
	// Those of one run stand side by side, in a ring: it begins anywhere.
	if len(kept) == 0 {
		t.Fatal("nothing came back under the ID that it had")
	}
	slices.Sort(kept)
	gap := kept[0] + len(lost) - kept[len(kept)-1]
	for n := 1; n < len(kept); n++ {
		gap = max(gap, kept[n]-kept[n-1])
	}
	if len(lost)-gap >= each {
		t.Errorf("%d came back under the IDs that they had, over %d statements: more than one run waited", len(kept), len(lost)-gap+1)
	}
}
