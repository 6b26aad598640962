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

// slowAnswers is a line to a server that keeps back what the server says while it is held.
type slowAnswers struct {
	mu   sync.Mutex
	free chan struct{} // closed: not held
}

func (s *slowAnswers) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = make(chan struct{})
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
	line := &slowAnswers{}
	again, err := nats.Connect(nc.ConnectedUrl(), nats.SetCustomDialer(&slowDialer{line}))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
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
