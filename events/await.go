package events

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// RevokeAndWait publishes r and waits, at most for wait, until every node has
// applied it: those that answer a census, those that the Publisher heard of within
// the last minute, and those that are expected by name. One that does not answer
// is named in the receipt; one that nobody expects and that takes longer to answer
// than the census lasts (half of wait, between 150 ms and a second; 150 ms if
// somebody is expected) is not in it. The receipt is valid whenever the error is
// nil: the statement is stored, and the receipt names the nodes that did not
// confirm. Errors are those of Publish; a statement that is stored is never an
// error.
func RevokeAndWait(ctx context.Context, nc *nats.Conn, p *Publisher, r Revocation, wait time.Duration, expect ...string) (Receipt, error) {
	a := awaiting{nc: nc, js: p.js, ackWait: p.ackWait, now: p.now, wait: wait, known: p.roster.known(p.now()), expect: expect}
	receipt, err := a.receipt(ctx, func(ctx context.Context) (Ack, error) { return p.Publish(ctx, r) })
	p.roster.hear(a.heard, p.now())
	return receipt, err
}

// WaitReceipt is RevokeAndWait for a statement that goes to the stream another
// way, for example through an issuer: revoke returns once it is stored, with its
// ID and sequence. It remembers no nodes. Errors are those of revoke and of
// jetstream.New.
func WaitReceipt(ctx context.Context, nc *nats.Conn, wait time.Duration, revoke func(context.Context) (Ack, error), expect ...string) (Receipt, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return Receipt{}, fmt.Errorf("open JetStream: %w", err)
	}
	a := awaiting{nc: nc, js: js, ackWait: defaultAckWait, now: time.Now, wait: wait, expect: expect}
	return a.receipt(ctx, revoke)
}

// awaiting is one receipt under way.
type awaiting struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	ackWait time.Duration
	now     func() time.Time
	wait    time.Duration
	known   []Report // what nodes said lately
	expect  []string
	heard   []Answer // all of them, in the end
}

// longestQuiet is how long the census of somebody who waits longer than that listens for one more node: one on another
// continent, or on a busy machine.
const longestQuiet = time.Second

func (a *awaiting) quiet() time.Duration {
	if len(a.known)+len(a.expect) > 0 {
		return defaultQuiet // who is slow is waited for by name
	}
	return min(max(a.wait/2, defaultQuiet), longestQuiet)
}

func (a *awaiting) receipt(ctx context.Context, revoke func(context.Context) (Ack, error)) (Receipt, error) {
	// Both run beside the publication: they must not delay it.
	cctx, stop := context.WithCancel(ctx)
	defer stop()
	var census []Answer
	var owing []Report
	stream := make(chan time.Time, 1)
	names := make(chan []string, 1)
	var counting sync.WaitGroup
	counting.Go(func() {
		census, _ = AskFleet(cctx, a.nc, Question{Quiet: a.quiet()}) // without one, whoever answers counts
		owing = a.owing(census)
		list := make([]string, len(owing))
		for i, r := range owing {
			list[i] = r.Node
		}
		names <- list
	})
	counting.Go(func() { stream <- created(cctx, a.js, a.ackWait) })
	ack, err := revoke(ctx)
	if err != nil {
		stop()
		counting.Wait()
		return Receipt{}, err
	}
	out := Receipt{ID: ack.ID, Sequence: ack.Sequence, Duplicate: ack.Duplicate, Stored: a.now()}
	wctx, cancel := context.WithTimeout(ctx, max(a.wait, time.Millisecond))
	defer cancel()
	answers, err := ask(wctx, a.nc, Question{Sequence: ack.Sequence, Stream: <-stream}, names)
	if err != nil {
		answers = nil // it is stored; nobody could be asked
	}
	stop() // the census lasts no longer than the wait
	counting.Wait()
	out.fill(owing, answers)
	a.heard = slices.Concat(census, answers)
	return out, nil
}

// owing are the nodes that have to confirm, with the last they said: each answer of the census, and everybody else who was
// heard of or is expected.
func (a *awaiting) owing(census []Answer) []Report {
	all := make([]Report, 0, len(census)+len(a.known)+len(a.expect))
	there := make(map[string]bool, cap(all))
	for _, c := range census {
		all = append(all, c.Report)
		there[c.Node] = true
	}
	add := func(r Report) {
		if !there[r.Node] {
			there[r.Node] = true
			all = append(all, r)
		}
	}
	for _, r := range a.known {
		add(r)
	}
	for _, name := range a.expect {
		add(Report{Node: name})
	}
	return all
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
func (r *Receipt) fill(owing []Report, answers []Answer) {
	confirmed := make(map[string]int)
	latest := make(map[string]Report)
	for _, a := range answers {
		latest[a.Node] = a.Report
		if a.Applied {
			r.Answered = append(r.Answered, a)
			confirmed[a.Node]++
		}
	}
	for _, report := range owing {
		if confirmed[report.Node] > 0 {
			confirmed[report.Node]--
			continue
		}
		if l, ok := latest[report.Node]; ok {
			report = l
		}
		r.Silent = append(r.Silent, silent(report, r.Stored))
	}
	slices.SortStableFunc(r.Answered, func(a, b Answer) int { return cmp.Compare(a.After, b.After) })
	slices.SortStableFunc(r.Silent, func(a, b Silent) int { return cmp.Compare(a.Node, b.Node) })
}
