package events_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
)

// TestPublishAllAgainIsNotOneRoundTripEach: of a batch that the server has already, sixteen are under way before the first answer.
func TestPublishAllAgainIsNotOneRoundTripEach(t *testing.T) {
	t.Parallel()
	nc, js, first := newStream(t, events.Layout{}, nil)
	rs := sessions(40, "s")
	for i := range rs {
		rs[i].ID = fmt.Sprint("id-", i)
	}
	if _, err := first.PublishAll(t.Context(), rs, nil); err != nil {
		t.Fatal(err)
	}
	line, again := slowly(t, nc)
	p, err := events.NewPublisher(events.PublisherConfig{Conn: again, AckWait: patience})
	if err != nil {
		t.Fatal(err)
	}
	singles := make(chan string, 1000)
	held := sync.OnceFunc(line.hold)
	sub, err := nc.Subscribe("quash.v1.session-revoked.*", func(m *nats.Msg) {
		if m.Header.Get("Nats-Batch-Id") == "" {
			held()
			singles <- m.Header.Get("Nats-Msg-Id")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		result, err := p.PublishAll(t.Context(), rs, nil)
		for _, a := range result.Acks {
			if err == nil && !a.Duplicate {
				err = fmt.Errorf("%+v was stored a second time", a)
			}
		}
		done <- err
	}()
	under := map[string]bool{}
	limit := time.After(patience)
	for len(under) < 16 {
		select {
		case id := <-singles:
			under[id] = true
		case <-limit:
			t.Errorf("%d under way before an answer came, want 16", len(under))
			line.let()
			<-done
			return
		}
	}
	line.let()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := len(stored(t, js)); n != len(rs) {
		t.Errorf("stored: got %d, want %d", n, len(rs))
	}
}

// TestPublishIsHeardByASlowServer: each answer comes only when the next attempt is under way; the first one counts all the same.
func TestPublishIsHeardByASlowServer(t *testing.T) {
	t.Parallel()
	for name, n := range map[string]int{"one": 1, "batch": 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc, js, _ := newStream(t, events.Layout{}, nil)
			line, slow := slowly(t, nc)
			p, err := events.NewPublisher(events.PublisherConfig{Conn: slow, AckWait: 100 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			rs := sessions(n, "s")
			for i := range rs {
				if rs[i], err = p.Complete(t.Context(), rs[i]); err != nil { // the stream is known
					t.Fatal(err)
				}
			}
			line.hold()
			defer line.let()
			sent := 0
			sub, err := nc.Subscribe("quash.v1.session-revoked.*", func(m *nats.Msg) {
				if m.Header.Get("Nats-Msg-Id") != rs[n-1].ID {
					return
				}
				if sent++; sent > 1 {
					line.word()
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = sub.Unsubscribe() }()
			if err := nc.Flush(); err != nil {
				t.Fatal(err)
			}
			result, err := p.PublishAll(t.Context(), rs, nil)
			if err != nil || result.Acks[n-1].Duplicate {
				t.Errorf("got %v, %+v, want the first answer", err, result.Acks)
			}
			if got := len(stored(t, js)); got != n {
				t.Errorf("stored: got %d, want %d", got, n)
			}
		})
	}
}
