package events_test

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
)

// slowAnswers is a line to a server that keeps back what the server says while it is held: all of it, or but for one word.
type slowAnswers struct {
	mu   sync.Mutex
	free chan struct{} // closed: not held; one in it: for one reading
}

func (s *slowAnswers) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = make(chan struct{}, 1)
}

// word lets one reading through.
func (s *slowAnswers) word() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.free <- struct{}{}:
	default:
	}
}

func (s *slowAnswers) let() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.free)
}

func (s *slowAnswers) Write(p []byte) (int, error) {
	s.mu.Lock()
	free := s.free
	s.mu.Unlock()
	if free != nil {
		<-free
	}
	return len(p), nil
}

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

// slowly connects as nc is, through a line.
func slowly(t *testing.T, nc *nats.Conn) (*slowAnswers, *nats.Conn) {
	t.Helper()
	line := &slowAnswers{}
	slow, err := nats.Connect(nc.ConnectedUrl(), nats.SetCustomDialer(&slowDialer{line}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(slow.Close)
	return line, slow
}

// slowDialer dials through the line.
type slowDialer struct{ line *slowAnswers }

func (d *slowDialer) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	return &slowConn{c, io.TeeReader(c, d.line)}, nil
}

// slowConn reads through the line.
type slowConn struct {
	net.Conn
	r io.Reader
}

func (c *slowConn) Read(p []byte) (int, error) { return c.r.Read(p) }
