package events_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
)

// TestPublishAllIntoTheLastRoom: a stream that has no room for a batch, and some for its first statements, takes those. Otherwise nothing could be
// revoked in bulk while there is room enough for views to stay young.
func TestPublishAllIntoTheLastRoom(t *testing.T) {
	t.Parallel()
	_, js, p := newStream(t, events.Layout{MaxBytes: 4 << 20}, nil)
	free := func() int64 {
		s, err := js.Stream(t.Context(), events.StreamName)
		if err != nil {
			t.Fatal(err)
		}
		i := s.CachedInfo()
		return i.Config.MaxBytes - int64(i.State.Bytes)
	}
	for free() > 42_000 {
		m := nats.NewMsg(events.SubjectBeacon)
		if m.Data = make([]byte, 1_000); free() > 70_000 {
			m.Data = make([]byte, 16_000)
		}
		if _, err := js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	rs := make([]events.Revocation, 250)
	for i := range rs {
		rs[i] = session(fmt.Sprint("s", i))
	}
	r, err := p.PublishAll(t.Context(), rs, nil)
	stored := 0
	for _, a := range r.Acks {
		if a.Sequence > 0 {
			stored++
		}
	}
	if !errors.Is(err, events.ErrFull) || stored == 0 || stored+len(r.Failed) != len(rs) {
		t.Errorf("%d of %d stored, %d failed, %v; %d bytes are free", stored, len(rs), len(r.Failed), err, free())
	}
	if left := free(); left > 2_000 {
		t.Errorf("%d bytes are free, in which there is room for more", left)
	}
}
