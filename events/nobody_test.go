package events_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// forger says to whoever asks on subject what a server says if nobody listens, and then runs the rest, if any.
func forger(t *testing.T, s *natstest.Server, subject string, then func(*nats.Msg)) {
	t.Helper()
	nc := s.Connect(t)
	_, err := nc.Subscribe(subject, func(m *nats.Msg) {
		if err := nc.PublishMsg(&nats.Msg{Subject: m.Reply, Header: nats.Header{"Status": {"503"}}}); err != nil {
			t.Error(err)
		}
		if err := nc.FlushTimeout(patience); err != nil { // the server has it, before whatever comes now
			t.Error(err)
		}
		if then != nil {
			then(m)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

// TestForgedNobodyHidesNoNode: that nobody listens only the server can say, and it says so at once.
func TestForgedNobodyHidesNoNode(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	nc := s.Connect(t)
	answer := func(m *nats.Msg) {
		if err := m.Respond([]byte(`{"node":"a","applied":true}`)); err != nil {
			t.Error(err)
		}
	}
	forger(t, s, events.SubjectFleet, answer)
	census(t, nc, "a")

	slow := natstest.Start(t)
	nc = slow.Connect(t)
	forger(t, slow, events.SubjectFleet, func(m *nats.Msg) {
		<-time.After(300 * time.Millisecond) // the node is busy
		answer(m)
	})
	for what, q := range map[string]events.Question{
		"census":  {Quiet: patience},
		"receipt": {Sequence: 7},
	} {
		q.Expect = []string{"a"}
		waitFor(t, what+": the slow node is waited for", func() bool {
			answers, err := events.AskFleet(t.Context(), nc, q)
			if err != nil {
				t.Fatal(err)
			}
			return names(answers) == "a"
		})
	}
}

// TestNobodyIsWaitedForBriefly: what the server says is believed.
func TestNobodyIsWaitedForBriefly(t *testing.T) {
	t.Parallel()
	nc, _, p := newStream(t, events.Layout{}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for what, q := range map[string]events.Question{
		"census":         {Quiet: 2 * patience},
		"receipt":        {Sequence: 7},
		"known by names": {Sequence: 7, Expect: []string{"a", "b"}, Quiet: 2 * patience},
	} {
		if answers, err := events.AskFleet(ctx, nc, q); err != nil || len(answers) != 0 || ctx.Err() != nil {
			t.Errorf("%s: got %v, %v, %v", what, answers, err, ctx.Err())
		}
	}
	receipt, err := events.RevokeAndWait(ctx, nc, p, session("s"), 2*patience, "a")
	if err != nil || ctx.Err() != nil || names(receipt.Answered) != "" || len(receipt.Silent) != 1 {
		t.Errorf("receipt: got %+v, %v, %v", receipt, err, ctx.Err())
	}
}

// TestForgedNobodyHidesNoLedger: a node would serve before it has what the stream lost.
func TestForgedNobodyHidesNoLedger(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	nc := s.Connect(t)
	forger(t, s, events.SubjectWhole, func(m *nats.Msg) {
		if err := m.Respond([]byte(`{"node":"keeper"}`)); err != nil {
			t.Error(err)
		}
	})
	waitFor(t, "the one who keeps a ledger is heard", func() bool {
		got, err := events.AskWhole(t.Context(), nc)
		return err == nil && len(got) == 1 && got[0].Node == "keeper"
	})
}
