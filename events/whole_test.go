package events_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// keeps answers whether the stream is whole until the test ends.
func keeps(t *testing.T, nc *nats.Conn, say events.Whole) {
	t.Helper()
	stop, err := events.HearWhole(nc, func() events.Whole { return say })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
}

// asked is AskWhole of a server that answers, if late.
func asked(t *testing.T, nc *nats.Conn) (got []events.Whole, err error) {
	t.Helper()
	waitFor(t, "the server answers", func() bool {
		got, err = events.AskWhole(t.Context(), nc)
		return !errors.Is(err, events.ErrUnavailable)
	})
	return got, err
}

// TestAskWholeOfAFrozenServer: that no answer came is not taken for somebody who listens.
func TestAskWholeOfAFrozenServer(t *testing.T) {
	t.Parallel()
	p := natstest.StartProcess(t, t.TempDir(), 0)
	nc := p.Connect(t)
	p.Pause()
	if got, err := events.AskWhole(t.Context(), nc); !errors.Is(err, events.ErrUnavailable) || errors.Is(err, events.ErrNoLedger) {
		t.Errorf("got %v, %v, want ErrUnavailable", got, err)
	}
	p.Resume()
	eventually(t, "the server answers", func() bool {
		_, err := events.AskWhole(t.Context(), nc)
		return errors.Is(err, events.ErrNoLedger)
	})
}

func TestAskWhole(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	nc := s.Connect(t)
	if _, err := asked(t, nc); !errors.Is(err, events.ErrNoLedger) {
		t.Fatalf("nobody listens: got %v, want ErrNoLedger", err)
	}
	mute := s.Connect(t)
	if _, err := mute.SubscribeSync(events.SubjectWhole); err != nil {
		t.Fatal(err)
	}
	if err := mute.Flush(); err != nil {
		t.Fatal(err)
	}
	if got, err := asked(t, nc); err != nil || len(got) != 0 {
		t.Fatalf("somebody listens and says nothing: got %v, %v", got, err)
	}
	liar := s.Connect(t)
	if _, err := liar.Subscribe(events.SubjectWhole, func(m *nats.Msg) {
		for _, text := range []string{"", "[]", `{"node":7}`, `{"node":"x","stream":"yesterday"}`, `{"sequence":1}`, strings.Repeat(" ", 2000)} {
			_ = m.Respond([]byte(text))
		}
	}); err != nil {
		t.Fatal(err)
	}
	created := time.Now().UTC()
	one := events.Whole{Node: "one", At: events.Position{Stream: created, Sequence: 7}}
	two := events.Whole{Node: "two"}
	keeps(t, s.Connect(t), one)
	keeps(t, s.Connect(t), two)
	waitFor(t, "both answers and no other", func() bool {
		got, err := asked(t, nc)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range got {
			if w != one && w != two {
				t.Fatalf("got %+v", w)
			}
		}
		return len(got) == 2
	})
}

// TestAskWholeEnds: whoever keeps talking holds nobody for longer, and fills no memory.
func TestAskWholeEnds(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	nc := s.Connect(t)
	for name, say := range map[string]func(n int) string{
		"the same":       func(int) string { return `{"node":"x"}` },
		"something else": func(n int) string { return fmt.Sprintf(`{"node":"x","sequence":%d}`, n+1) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		liar := s.Connect(t)
		var talk sync.WaitGroup
		sub, err := liar.Subscribe(events.SubjectWhole, func(m *nats.Msg) {
			talk.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					_ = m.Respond([]byte(say(n)))
					_ = liar.Flush()
				}
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := liar.Flush(); err != nil {
			t.Fatal(err)
		}
		var got []events.Whole
		waitFor(t, "an answer of one who keeps saying "+name, func() bool {
			got, err = asked(t, nc)
			if err != nil || ctx.Err() != nil || len(got) > 256 {
				t.Fatalf("one who keeps saying %s: %d answers, %v, %v", name, len(got), err, ctx.Err())
			}
			return len(got) > 0
		})
		if name == "the same" && len(got) != 1 {
			t.Errorf("one who keeps saying %s is heard %d times", name, len(got))
		}
		if err := sub.Unsubscribe(); err != nil {
			t.Fatal(err)
		}
		cancel()
		talk.Wait()
	}
}

// Only who keeps a ledger hears the question, so nobody else can answer it.
func TestAskWholeByRole(t *testing.T) {
	t.Parallel()
	s := startWithRoles(t)
	verifier := as(t, s, "verifier")
	if permitted(t, verifier, func() error { _, err := verifier.SubscribeSync(events.SubjectWhole); return err }) {
		t.Error("a verifier can hear the question")
	}
	if _, err := asked(t, verifier); !errors.Is(err, events.ErrNoLedger) || strings.Contains(err.Error(), "allow") {
		t.Errorf("a verifier asks: got %v, want ErrNoLedger", err)
	}
	// As under a configuration of before there was the question.
	publisher := as(t, s, "publisher")
	waitFor(t, "a role that may not ask is told so, once the server's refusal has come", func() bool {
		got, err := asked(t, publisher)
		if len(got) > 0 || err != nil && !errors.Is(err, events.ErrNoLedger) {
			t.Fatalf("got %v, %v", got, err)
		}
		return err != nil && strings.Contains(err.Error(), "allow it to publish to "+events.SubjectWhole)
	})
}

// FuzzWhole: what is accepted has a name and survives a round trip.
func FuzzWhole(f *testing.F) {
	f.Add([]byte(`{"node":"a","stream":"2026-11-21T17:00:00.123456789Z","sequence":9}`))
	f.Add([]byte(`{"node":"a","sequence":99999999999999999999}`))
	f.Add([]byte(`{"node":"","node":"b"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := events.DecodeWhole(data)
		if err != nil {
			return
		}
		if w.Node == "" {
			t.Fatalf("accepted %+v", w)
		}
		again, err := events.DecodeWhole(events.EncodeWhole(w))
		if err != nil || again.At.Sequence != w.At.Sequence || !again.At.Stream.Equal(w.At.Stream) {
			t.Fatalf("round trip: got %+v, %v, want %+v", again, err, w)
		}
	})
}
