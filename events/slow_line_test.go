package events_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
)

// slowAnswers is a line to a server that keeps back what the server sends while it is held: all messages, or but for one.
type slowAnswers struct {
	mu   sync.Mutex
	free chan struct{} // closed: not held any more; one in it: for one message; nil: never held
}

func (s *slowAnswers) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = make(chan struct{}, 1)
}

// word lets one message through.
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

// wait is for a message that has arrived.
func (s *slowAnswers) wait() {
	s.mu.Lock()
	free := s.free
	s.mu.Unlock()
	if free != nil {
		<-free
	}
}

// slowly connects as nc is, through a line.
func slowly(t *testing.T, nc *nats.Conn) (*slowAnswers, *nats.Conn) {
	t.Helper()
	line := &slowAnswers{}
	slow, err := nats.Connect(nc.ConnectedUrl(), nats.Timeout(patience), nats.SetCustomDialer(&slowDialer{line}))
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
	return &slowConn{Conn: c, line: d.line, r: bufio.NewReader(c)}, nil
}

// slowConn reads through the line, one word of the protocol at a time: whatever the server sends at once, an answer comes
// alone.
type slowConn struct {
	net.Conn
	line *slowAnswers
	r    *bufio.Reader
	next bytes.Buffer // of the word that is being read
}

func (c *slowConn) Read(p []byte) (int, error) {
	if c.next.Len() == 0 {
		if err := c.take(); err != nil {
			return 0, err
		}
	}
	return c.next.Read(p)
}

func (c *slowConn) take() error {
	line, err := c.r.ReadBytes('\n')
	if err != nil {
		return err
	}
	c.next.Write(line)
	fields := bytes.Fields(line)
	if len(fields) == 0 || !bytes.Equal(fields[0], []byte("MSG")) && !bytes.Equal(fields[0], []byte("HMSG")) {
		return nil
	}
	size, err := strconv.Atoi(string(fields[len(fields)-1]))
	if err != nil {
		return err
	}
	body := make([]byte, size+len("\r\n"))
	if _, err := io.ReadFull(c.r, body); err != nil {
		return err
	}
	c.next.Write(body)
	c.line.wait()
	return nil
}
