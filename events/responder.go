package events

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// ResponderConfig configures a Responder.
type ResponderConfig struct {
	// Conn is the connection to answer over. Required; never closed.
	Conn *nats.Conn
	// Node is the name to answer with. Required, unique in the fleet.
	Node string
	// Report says how the node is. Required; called for every answer, also
	// concurrently. Its Node is replaced by the one above.
	Report func() Report
	// WaitApplied returns nil once the position is applied here, as
	// Subscriber.WaitApplied does. Required.
	WaitApplied func(ctx context.Context, at Position) error
	// MaxWaiting bounds the questions that wait for a sequence at the same time;
	// those beyond it are answered at once, unconfirmed. Zero means 64.
	MaxWaiting int
	// MaxWait bounds how long a question waits. Zero means 30 s.
	MaxWait time.Duration
}

// Responder answers the questions that are put to the fleet.
type Responder struct {
	c       ResponderConfig
	waiting chan struct{} // one slot per question that waits
}

// NewResponder checks the configuration.
func NewResponder(c ResponderConfig) (*Responder, error) {
	switch {
	case c.Conn == nil:
		return nil, badField("conn", "required: open a connection with events.Connect")
	case c.Node == "" || len(c.Node) > MaxKey:
		return nil, badField("node", "a name of at most %d bytes is required", MaxKey)
	case c.Report == nil:
		return nil, badField("report", "required")
	case c.WaitApplied == nil:
		return nil, badField("wait_applied", "required")
	case c.MaxWaiting < 0:
		return nil, badField("max_waiting", "%d is negative", c.MaxWaiting)
	case c.MaxWait < 0:
		return nil, badField("max_wait", "%v is negative", c.MaxWait)
	}
	if c.MaxWaiting == 0 {
		c.MaxWaiting = 64
	}
	if c.MaxWait == 0 {
		c.MaxWait = 30 * time.Second
	}
	return &Responder{c: c, waiting: make(chan struct{}, c.MaxWaiting)}, nil
}

// question is the wire form of a Question.
type question struct {
	Sequence uint64 `json:"sequence,omitempty"`
	Stream   string `json:"stream,omitempty"`  // when the stream of that sequence was created
	Wait     int64  `json:"wait_ms,omitempty"` // how long the asker listens
}

// position returns what is asked for; false if it cannot be read.
func (q question) position() (Position, bool) {
	at := Position{Sequence: q.Sequence}
	if q.Stream == "" {
		return at, true
	}
	var err error
	at.Stream, err = time.Parse(time.RFC3339Nano, q.Stream)
	return at, err == nil
}

// Run answers until ctx ends and returns nil then. It waits for the answers
// under way. An error means that it could not begin to listen.
func (r *Responder) Run(ctx context.Context) error {
	msgs := make(chan *nats.Msg, 256)
	sub, err := r.c.Conn.ChanSubscribe(SubjectFleet, msgs)
	if err != nil {
		return fmt.Errorf("%w: listen on %s: %w", ErrUnavailable, SubjectFleet, err)
	}
	var answers sync.WaitGroup
	defer answers.Wait()
	defer func() { _ = sub.Unsubscribe() }() // the connection may be closed already
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-msgs:
			r.take(ctx, m, &answers)
		}
	}
}

// take answers now, or starts to wait.
func (r *Responder) take(ctx context.Context, m *nats.Msg, answers *sync.WaitGroup) {
	var q question
	if m.Reply == "" || len(m.Data) > 1024 || len(m.Data) > 0 && json.Unmarshal(m.Data, &q) != nil {
		return // not a question of ours
	}
	at, ok := q.position()
	if !ok {
		return
	}
	if q.Sequence == 0 {
		r.answer(m, false)
		return
	}
	select {
	case r.waiting <- struct{}{}:
	default:
		r.answer(m, false)
		return
	}
	answers.Go(func() {
		defer func() { <-r.waiting }()
		wait := r.c.MaxWait
		if asked := time.Duration(q.Wait) * time.Millisecond; q.Wait > 0 && q.Wait < wait.Milliseconds() {
			wait = asked
		}
		wctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		err := r.c.WaitApplied(wctx, at)
		if ctx.Err() != nil && err != nil {
			return // shutting down
		}
		r.answer(m, err == nil)
	})
}

func (r *Responder) answer(m *nats.Msg, applied bool) {
	report := r.c.Report()
	report.Node = r.c.Node
	data, err := json.Marshal(Answer{Report: report, Applied: applied})
	if err != nil {
		return // a float that JSON cannot express; there are none
	}
	_ = m.Respond(data) // the asker counts who is missing
}
