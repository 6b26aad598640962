package events

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Question is what AskFleet asks.
type Question struct {
	// Sequence: nodes answer once they have applied it. Zero: at once.
	Sequence uint64
	// Stream is when the stream of that sequence was created: a node that
	// follows another one of the same name does not confirm. Zero: not compared.
	Stream time.Time
	// Expect ends the wait as soon as each of these nodes has answered; a name
	// that is given twice must answer twice.
	Expect []string
	// Quiet ends the wait when no answer came for this long. Zero: 150 ms without
	// a Sequence, else only Expect and the context end the wait.
	Quiet time.Duration
}

const (
	defaultQuiet = 150 * time.Millisecond
	longestAsk   = 30 * time.Second
	// lonelyQuiet is how long an answer is waited for when the census heard nobody: there is no node, or all are slow.
	lonelyQuiet = time.Second
	// pendingAnswers is how many answers may wait to be read at a time.
	pendingAnswers = 16 << 10
)

// AskFleet asks all nodes that listen and returns their answers, in the order of
// their arrival. It ends when the question says so or ctx ends (30 s at most
// without a deadline), or after 150 ms without an answer if the server says that
// nobody listens; what came until then is returned, and the end of ctx is not an
// error. ErrUnavailable: the question could not be asked.
func AskFleet(ctx context.Context, nc *nats.Conn, q Question) ([]Answer, error) {
	return ask(ctx, nc, q, nil)
}

// ask is AskFleet; if more is not nil, the question is only over once the names
// that come through it have answered too.
func ask(ctx context.Context, nc *nats.Conn, q Question, more <-chan []string) ([]Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, longestAsk)
	defer cancel()
	deadline, _ := ctx.Deadline()
	wire := question{Sequence: q.Sequence, Wait: max(time.Until(deadline).Milliseconds(), 1)}
	if !q.Stream.IsZero() {
		wire.Stream = q.Stream.UTC().Format(time.RFC3339Nano)
	}
	data, err := json.Marshal(wire)
	if err != nil {
		return nil, fmt.Errorf("encode a question: %w", err)
	}
	c := &collection{msgs: make(chan *nats.Msg, pendingAnswers), more: more, missing: make(map[string]int), quiet: q.Quiet}
	if c.quiet == 0 && q.Sequence == 0 {
		c.quiet = defaultQuiet
	}
	c.expect(q.Expect)
	inbox := nc.NewInbox()
	sub, err := nc.ChanSubscribe(inbox, c.msgs)
	if err != nil {
		return nil, fmt.Errorf("%w: ask the fleet: %w", ErrUnavailable, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be closed meanwhile
	c.asked = time.Now()
	if err := nc.PublishRequest(SubjectFleet, inbox, data); err != nil {
		return nil, fmt.Errorf("%w: ask the fleet: %w", ErrUnavailable, err)
	}
	passed := make(chan struct{})
	var flush sync.WaitGroup
	flush.Go(func() {
		if nc.FlushWithContext(ctx) == nil {
			close(passed)
		}
	})
	c.run(ctx, passed)
	cancel()
	flush.Wait()
	return c.answers, nil
}

// collection gathers the answers to one question.
type collection struct {
	msgs     chan *nats.Msg
	more     <-chan []string // names to expect, once; nil: all are known
	quiet    time.Duration   // 0: no such end
	asked    time.Time
	missing  map[string]int // how many answers each expected name owes
	owed     int
	expected bool // there is somebody to expect
	answers  []Answer
}

func (c *collection) expect(names []string) {
	for _, name := range names {
		c.missing[name]++
		c.owed++
		c.expected = true
	}
}

// run reads answers until the question's end. passed is closed when the server has dealt with the question: its word
// that nobody listens came before that. Whoever knows the inbox could say the same later, while the nodes still think.
func (c *collection) run(ctx context.Context, passed <-chan struct{}) {
	silence := time.NewTimer(c.patience())
	defer silence.Stop()
	alone := false       // nobody listens, as it seems
	early := math.MaxInt // so many of the next messages may be the server's
	for {
		if c.more == nil && c.expected && c.owed <= 0 {
			return
		}
		select {
		case <-passed:
			passed, early = nil, len(c.msgs)
		case m := <-c.msgs:
			early--
			switch {
			case c.take(m):
				alone = false
				silence.Reset(c.patience())
			case noResponders(m) && early >= 0 && len(c.answers) == 0:
				alone = true
				silence.Reset(min(c.patience(), defaultQuiet)) // an answer would show that it is not true
			}
		case names := <-c.more:
			c.more = nil
			c.expect(names)
			for i := range c.answers {
				c.paid(c.answers[i].Node)
			}
			if !c.expected { // nobody was quick enough to be counted: somebody may still answer
				c.quiet = defaultQuiet
				if !alone {
					silence.Reset(lonelyQuiet)
				}
			}
		case <-silence.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// patience is how long the next answer is waited for.
func (c *collection) patience() time.Duration {
	if c.quiet > 0 {
		return c.quiet
	}
	return longestAsk // the context ends before
}

// noResponders reports whether m is what the server sends if nobody listens to the subject of a request, or looks like it.
func noResponders(m *nats.Msg) bool {
	return len(m.Data) == 0 && m.Header.Get("Status") == "503"
}

// take reports whether m is an answer.
func (c *collection) take(m *nats.Msg) bool {
	var a Answer
	if len(m.Data) > 64<<10 || json.Unmarshal(m.Data, &a) != nil || a.Node == "" {
		return false // not of ours
	}
	a.After = time.Since(c.asked)
	c.answers = append(c.answers, a)
	c.paid(a.Node)
	return true
}

func (c *collection) paid(name string) {
	if c.missing[name] > 0 {
		c.missing[name]--
		c.owed--
	}
}
