package events

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

// Question is what AskFleet asks.
type Question struct {
	// Sequence: nodes answer once they have applied it. Zero: at once.
	Sequence uint64
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
	maxAnswers   = 100_000
)

// AskFleet asks all nodes that listen and returns their answers, in the order of
// their arrival. It ends when the question says so or ctx ends (30 s at most
// without a deadline); what came until then is returned, and the end of ctx is
// not an error. ErrUnavailable: the question could not be asked.
func AskFleet(ctx context.Context, nc *nats.Conn, q Question) ([]Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, longestAsk)
	defer cancel()
	deadline, _ := ctx.Deadline()
	data, err := json.Marshal(question{Sequence: q.Sequence, Wait: max(time.Until(deadline).Milliseconds(), 1)})
	if err != nil {
		return nil, fmt.Errorf("encode a question: %w", err)
	}
	sub, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		return nil, fmt.Errorf("%w: ask the fleet: %w", ErrUnavailable, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be closed meanwhile
	if err := sub.SetPendingLimits(maxAnswers, 256<<20); err != nil {
		return nil, fmt.Errorf("%w: ask the fleet: %w", ErrUnavailable, err)
	}
	asked := time.Now()
	if err := nc.PublishRequest(SubjectFleet, sub.Subject, data); err != nil {
		return nil, fmt.Errorf("%w: ask the fleet: %w", ErrUnavailable, err)
	}
	return collect(ctx, sub, q, asked)
}

// collect reads answers until the question's end.
func collect(ctx context.Context, sub *nats.Subscription, q Question, asked time.Time) ([]Answer, error) {
	quiet := q.Quiet
	if quiet == 0 && q.Sequence == 0 {
		quiet = defaultQuiet
	}
	missing := make(map[string]int, len(q.Expect))
	for _, name := range q.Expect {
		missing[name]++
	}
	left := len(q.Expect)
	var answers []Answer
	for len(answers) < maxAnswers {
		if len(q.Expect) > 0 && left == 0 {
			break
		}
		m, err := nextAnswer(ctx, sub, quiet)
		if errors.Is(err, nats.ErrNoResponders) {
			break // nobody listens
		}
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, nats.ErrTimeout) {
				break
			}
			return answers, fmt.Errorf("%w: ask the fleet: %w", ErrUnavailable, err)
		}
		var a Answer
		if json.Unmarshal(m.Data, &a) != nil || a.Node == "" {
			continue // not an answer of ours
		}
		a.After = time.Since(asked)
		answers = append(answers, a)
		if missing[a.Node] > 0 {
			missing[a.Node]--
			left--
		}
	}
	return answers, nil
}

func nextAnswer(ctx context.Context, sub *nats.Subscription, quiet time.Duration) (*nats.Msg, error) {
	if quiet > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, quiet)
		defer cancel()
	}
	return sub.NextMsgWithContext(ctx)
}

// RevokeAndWait publishes r and waits, at most for wait, until every node that
// listens has applied it. The receipt is valid whenever the error is nil: the
// statement is stored, and the receipt names the nodes that did not confirm.
// Errors are those of Publish; a statement that is stored is never an error.
func RevokeAndWait(ctx context.Context, nc *nats.Conn, p *Publisher, r Revocation, wait time.Duration) (Receipt, error) {
	census, err := AskFleet(ctx, nc, Question{})
	if err != nil {
		return Receipt{}, err
	}
	ack, err := p.Publish(ctx, r)
	if err != nil {
		return Receipt{}, err
	}
	stored := p.now()
	receipt := Receipt{ID: ack.ID, Sequence: ack.Sequence, Duplicate: ack.Duplicate, Stored: stored}
	expect := make([]string, len(census))
	for i, a := range census {
		expect[i] = a.Node
	}
	wctx, cancel := context.WithTimeout(ctx, max(wait, time.Millisecond))
	defer cancel()
	answers, err := AskFleet(wctx, nc, Question{Sequence: ack.Sequence, Expect: expect})
	if err != nil {
		answers = nil // it is stored; nobody confirmed
	}
	receipt.fill(census, answers)
	return receipt, nil
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
