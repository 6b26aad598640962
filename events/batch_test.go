package events_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
)

func sessions(n int, prefix string) []events.Revocation {
	rs := make([]events.Revocation, n)
	for i := range rs {
		rs[i] = session(fmt.Sprint(prefix, i))
	}
	return rs
}

func TestPublishAllStoresEveryStatementInOrder(t *testing.T) {
	t.Parallel()
	_, js, p := newStream(t, events.Layout{}, nil)
	const n = 2345
	rs := sessions(n, "s")
	var progress []int
	result, err := p.PublishAll(t.Context(), rs, func(done, total int) {
		if total != n {
			t.Errorf("total: got %d, want %d", total, n)
		}
		progress = append(progress, done)
	})
	if err != nil || len(result.Failed) != 0 {
		t.Fatalf("got %v, %d failed", err, len(result.Failed))
	}
	if want := []int{1000, 2000, n}; !slices.Equal(progress, want) {
		t.Errorf("progress: got %v, want %v", progress, want)
	}
	all := stored(t, js)
	if len(all) != n || len(result.Acks) != n {
		t.Fatalf("stored %d with %d acks, want %d", len(all), len(result.Acks), n)
	}
	for i, m := range all {
		r, err := events.Decode(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		if ack := result.Acks[i]; r.Key != rs[i].Key || ack.Sequence != m.Sequence || ack.ID != r.ID || ack.Duplicate {
			t.Fatalf("statement %d: stored key %q id %q at %d, ack %+v", i, r.Key, r.ID, m.Sequence, ack)
		}
		if m.Header.Get("Nats-TTL") == "" || m.Header.Get("Nats-Msg-Id") != r.ID {
			t.Fatalf("statement %d: headers %v", i, m.Header)
		}
	}
}

// What is stored already must not keep the rest of its batch from being stored.
func TestPublishAllAgainStoresOnlyWhatIsMissing(t *testing.T) {
	t.Parallel()
	_, js, p := newStream(t, events.Layout{}, nil)
	rs := sessions(30, "s")
	for i := range rs {
		rs[i].ID = fmt.Sprint("id-", i)
	}
	first, err := p.PublishAll(t.Context(), rs[:10], nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := p.PublishAll(t.Context(), rs, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, ack := range second.Acks {
		if ack.Duplicate != (i < 10) || i < 10 && ack.Sequence != first.Acks[i].Sequence || ack.Sequence == 0 {
			t.Errorf("ack %d: got %+v", i, ack)
		}
	}
	if n := len(stored(t, js)); n != len(rs) {
		t.Errorf("stored: got %d, want %d", n, len(rs))
	}
}

func TestPublishAllListsWhatFailed(t *testing.T) {
	t.Parallel()
	_, js, p := newStream(t, events.Layout{}, nil)
	rs := sessions(5, "s")
	rs[1].Key = ""
	rs[3].Issuer = ""
	rs[4].ID, rs[2].ID = "same", "same" // one ID for two statements
	result, err := p.PublishAll(t.Context(), rs, nil)
	if !errors.Is(err, events.ErrInvalid) {
		t.Errorf("error: got %v, want ErrInvalid", err)
	}
	var failed []int
	for _, f := range result.Failed {
		failed = append(failed, f.Index)
		if !errors.Is(f.Err, events.ErrInvalid) || result.Acks[f.Index].Sequence != 0 {
			t.Errorf("failure %+v, ack %+v", f, result.Acks[f.Index])
		}
	}
	if want := []int{1, 3, 4}; !slices.Equal(failed, want) {
		t.Errorf("failed: got %v, want %v", failed, want)
	}
	if n := len(stored(t, js)); n != 2 {
		t.Errorf("stored: got %d, want 2", n)
	}
}

func TestPublishAllWithoutStatements(t *testing.T) {
	t.Parallel()
	_, _, p := newStream(t, events.Layout{}, nil)
	result, err := p.PublishAll(t.Context(), nil, nil)
	if err != nil || len(result.Acks) != 0 || len(result.Failed) != 0 {
		t.Errorf("got %+v, %v", result, err)
	}
}

// A cancelled run says of every statement whether it is stored, and what it says
// is true.
func TestPublishAllCancelledReportsTheTruth(t *testing.T) {
	t.Parallel()
	_, js, p := newStream(t, events.Layout{}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rs := sessions(3500, "s")
	result, err := p.PublishAll(ctx, rs, func(done, _ int) {
		if done >= 2000 {
			cancel()
		}
	})
	if !errors.Is(err, events.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want ErrUnavailable and context.Canceled", err)
	}
	if len(result.Failed) != 1500 || result.Failed[0].Index != 2000 {
		t.Fatalf("failed: got %d from %d, want 1500 from 2000", len(result.Failed), result.Failed[0].Index)
	}
	if n := len(stored(t, js)); n != 2000 {
		t.Errorf("stored: got %d, want 2000", n)
	}
}

// Who may send beacons may begin batches of them, as many as a stream may have under way, and end none.
func TestPublishAllWhileAllBatchesAreTaken(t *testing.T) {
	t.Parallel()
	nc, js, p := newStream(t, events.Layout{}, nil)
	const most = 50 // of one stream at a time, in nats-server
	put := func(batch, sequence int) string {
		m := nats.NewMsg(events.SubjectBeacon)
		m.Header.Set("Nats-Batch-Id", fmt.Sprint("taken-", batch))
		m.Header.Set("Nats-Batch-Sequence", fmt.Sprint(sequence))
		answer, err := nc.RequestMsg(m, patience)
		if err != nil {
			t.Error(err)
			return err.Error()
		}
		return string(answer.Data)
	}
	next := make(map[int]int) // sequence by batch
	for n := 0; !strings.Contains(put(n, 1), "10210"); n++ {
		if n > 20*most {
			t.Fatalf("the server has more than %d batches under way", most)
		}
		next[n] = 2
		delete(next, n-most) // on a slow machine it has ended by itself
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { // keeps them under way
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			for n := range next {
				put(n, next[n])
				next[n]++
			}
		}
	}()
	rs := sessions(30, "s")
	result, err := p.PublishAll(t.Context(), rs, nil)
	close(stop)
	<-done
	if err != nil || len(result.Failed) > 0 {
		t.Fatalf("got %v, %d failed", err, len(result.Failed))
	}
	if n := len(stored(t, js)); n != len(rs) {
		t.Errorf("stored: got %d, want %d", n, len(rs))
	}
}

// What the server does with IDs and TTLs inside an atomic batch is what the
// fallback relies on.
func TestServerHonoursIDsInsideABatch(t *testing.T) {
	t.Parallel()
	nc, js, p := newStream(t, events.Layout{}, nil)
	rs := sessions(3, "s")
	for i := range rs {
		rs[i].ID = fmt.Sprint("id-", i)
	}
	if _, err := p.PublishAll(t.Context(), rs, nil); err != nil {
		t.Fatal(err)
	}
	m := nats.NewMsg(events.SubjectFor(events.Session))
	m.Header.Set("Nats-Msg-Id", "id-1")
	ack, err := js.PublishMsg(t.Context(), m)
	if err != nil || !ack.Duplicate || ack.Sequence != 2 {
		t.Errorf("single message with an ID of a batch: got %+v, %v, want a duplicate of 2", ack, err)
	}
	_ = nc
}
