package events

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
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
// without a deadline); what came until then is returned, and the end of ctx is
// not an error. ErrUnavailable: the question could not be asked.
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
	c.run(ctx)
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

// run reads answers until the question's end.
func (c *collection) run(ctx context.Context) {
	var silence <-chan time.Time
	var timer *time.Timer
	if c.quiet > 0 {
		timer = time.NewTimer(c.quiet)
		defer timer.Stop()
		silence = timer.C
	}
	for {
		if c.more == nil && c.expected && c.owed <= 0 {
			return
		}
		select {
		case m := <-c.msgs:
			if m.Header.Get("Status") == "503" {
				return // nobody listens
			}
			c.take(m)
			if timer != nil {
				timer.Reset(c.quiet)
			}
		case names := <-c.more:
			c.more = nil
			c.expect(names)
			for i := range c.answers {
				c.paid(c.answers[i].Node)
			}
			if !c.expected { // nobody was quick enough to be counted: somebody may still answer
				timer = time.NewTimer(lonelyQuiet)
				defer timer.Stop()
				silence, c.quiet = timer.C, defaultQuiet
			}
		case <-silence:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (c *collection) take(m *nats.Msg) {
	var a Answer
	if len(m.Data) > 64<<10 || json.Unmarshal(m.Data, &a) != nil || a.Node == "" {
		return // not an answer of ours
	}
	a.After = time.Since(c.asked)
	c.answers = append(c.answers, a)
	c.paid(a.Node)
}

func (c *collection) paid(name string) {
	if c.missing[name] > 0 {
		c.missing[name]--
		c.owed--
	}
}

// RevokeAndWait publishes r and waits, at most for wait, until every node that
// listens has applied it. The receipt is valid whenever the error is nil: the
// statement is stored, and the receipt names the nodes that did not confirm.
// Errors are those of Publish; a statement that is stored is never an error.
func RevokeAndWait(ctx context.Context, nc *nats.Conn, p *Publisher, r Revocation, wait time.Duration) (Receipt, error) {
	return receipt(ctx, nc, p.now, wait, func(ctx context.Context) time.Time { return created(ctx, p.js, p.ackWait) },
		func(ctx context.Context) (Ack, error) { return p.Publish(ctx, r) })
}

// WaitReceipt is RevokeAndWait for a statement that goes to the stream another
// way, for example through an issuer: revoke returns once it is stored, with its
// ID and sequence. Errors are those of revoke and of jetstream.New.
func WaitReceipt(ctx context.Context, nc *nats.Conn, wait time.Duration, revoke func(context.Context) (Ack, error)) (Receipt, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return Receipt{}, fmt.Errorf("open JetStream: %w", err)
	}
	return receipt(ctx, nc, time.Now, wait, func(ctx context.Context) time.Time { return created(ctx, js, defaultAckWait) }, revoke)
}

func receipt(ctx context.Context, nc *nats.Conn, now func() time.Time, wait time.Duration, born func(context.Context) time.Time,
	revoke func(context.Context) (Ack, error)) (Receipt, error) {
	// Both run beside the publication: they must not delay it.
	cctx, stop := context.WithCancel(ctx)
	defer stop()
	var census []Answer
	stream := make(chan time.Time, 1)
	names := make(chan []string, 1)
	var counting sync.WaitGroup
	counting.Go(func() {
		census, _ = AskFleet(cctx, nc, Question{}) // without one, whoever answers counts
		list := make([]string, len(census))
		for i, a := range census {
			list[i] = a.Node
		}
		names <- list
	})
	counting.Go(func() { stream <- born(cctx) })
	ack, err := revoke(ctx)
	if err != nil {
		stop()
		counting.Wait()
		return Receipt{}, err
	}
	out := Receipt{ID: ack.ID, Sequence: ack.Sequence, Duplicate: ack.Duplicate, Stored: now()}
	wctx, cancel := context.WithTimeout(ctx, max(wait, time.Millisecond))
	defer cancel()
	answers, err := ask(wctx, nc, Question{Sequence: ack.Sequence, Stream: <-stream}, names)
	if err != nil {
		answers = nil // it is stored; nobody could be asked
	}
	counting.Wait()
	out.fill(census, answers)
	return out, nil
}

// created returns when the stream was created, or zero if it cannot be asked
// within wait.
func created(ctx context.Context, js jetstream.JetStream, wait time.Duration) time.Time {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	stream, err := js.Stream(ctx, StreamName)
	if err != nil {
		return time.Time{}
	}
	return stream.CachedInfo().Created
}

// fill sorts the nodes into those that confirmed and those that did not.
func (r *Receipt) fill(census, answers []Answer) {
	confirmed := make(map[string]int)
	for _, a := range answers {
		if a.Applied {
			r.Answered = append(r.Answered, a)
			confirmed[a.Node]++
		}
	}
	latest := make(map[string]Report)
	for _, a := range answers {
		latest[a.Node] = a.Report
	}
	for _, a := range census {
		if confirmed[a.Node] > 0 {
			confirmed[a.Node]--
			continue
		}
		report := a.Report
		if l, ok := latest[a.Node]; ok {
			report = l
		}
		r.Silent = append(r.Silent, silent(report, r.Stored))
	}
	slices.SortStableFunc(r.Answered, func(a, b Answer) int { return cmp.Compare(a.After, b.After) })
	slices.SortStableFunc(r.Silent, func(a, b Silent) int { return cmp.Compare(a.Node, b.Node) })
}
