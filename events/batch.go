package events

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// maxBatch is how many messages the server takes in one atomic batch.
const maxBatch = 1000

// BatchResult says what became of each statement of a PublishAll.
type BatchResult struct {
	// Acks has one entry per statement, in their order; Sequence is 0 where it
	// failed.
	Acks []Ack
	// Failed lists what is not known to be stored, in order.
	Failed []BatchFailure
}

// BatchFailure is one statement that is not known to be stored.
type BatchFailure struct {
	Index int // in the slice that was passed in
	Err   error
}

// PublishAll publishes many statements, in atomic batches of up to 1,000: each
// batch is stored whole or, where the server refuses it because it holds some of
// it already or has no room for all of it, one by one, 16 at a time. Statements
// that are invalid are listed and do not hold up the others. progress, if not nil,
// is called after each batch with how many statements are settled, failed ones
// included.
//
// The error is nil only when every statement is stored; otherwise it wraps the
// first failure, and BatchResult.Failed has them all. Calling it again with the
// failed ones, same IDs, is harmless. After a single statement was ErrFull, or the
// end of ctx, the rest is not attempted.
func (p *Publisher) PublishAll(ctx context.Context, rs []Revocation, progress func(done, total int)) (BatchResult, error) {
	run := &bulk{p: p, asked: rs, full: make([]Revocation, len(rs)), errs: make([]error, len(rs))}
	run.result.Acks = make([]Ack, len(rs))
	b, err := p.stream(ctx)
	if err != nil {
		for i := range rs {
			run.errs[i] = err
		}
		return run.finish()
	}
	batch := make([]int, 0, min(maxBatch, len(rs)))
	for i := range rs {
		if run.full[i], run.errs[i] = p.complete(rs[i], b); run.errs[i] == nil {
			run.result.Acks[i].ID = run.full[i].ID
			batch = append(batch, i)
		}
		if len(batch) == maxBatch || i == len(rs)-1 {
			run.publish(ctx, batch)
			batch = batch[:0]
			if progress != nil {
				progress(i+1, len(rs))
			}
		}
	}
	return run.finish()
}

// bulk is one PublishAll under way.
type bulk struct {
	p      *Publisher
	asked  []Revocation
	full   []Revocation // completed
	errs   []error
	result BatchResult
	over   error // why nothing more is attempted
}

// publish stores the statements with these indexes, at once if it can.
func (b *bulk) publish(ctx context.Context, batch []int) {
	if b.over == nil && len(batch) > 1 {
		at, end := b.p.begin(ctx)
		var dropped time.Time
		err := retry(at.ctx, func() (bool, error) {
			err := b.attempt(at, batch)
			if errors.Is(err, errBatchDropped) {
				if dropped.IsZero() {
					dropped = time.Now()
				} else if time.Since(dropped) > batchPatience {
					return false, fmt.Errorf("%w: %w", errBatchRefused, err)
				}
			}
			return repeatable(err), err
		})
		end()
		if err == nil {
			return
		}
		if !errors.Is(err, errBatchRefused) && !errors.Is(err, ErrFull) { // there may be room for some of it
			b.fail(batch, fmt.Errorf("publish a batch of %d revocations: %w", len(batch), err))
			return
		}
	}
	// One by one: the IDs tell the server which it has already.
	for len(batch) > 0 && b.over == nil {
		n := b.abreast(batch)
		b.sendEach(ctx, batch[:n])
		batch = batch[n:]
	}
	b.fail(batch, b.over)
}

// maxAbreast is how many statements are under way at once where a batch is refused. One after the other, a slow server would cost
// two round trips for each; many more would be in the way of somebody else's.
const maxAbreast = 16

// abreast is how many of batch, from its start, can be sent at once: an ID that comes again waits for the first one's answer.
func (b *bulk) abreast(batch []int) int {
	batch = batch[:min(maxAbreast, len(batch))]
	ids := make(map[string]bool, len(batch))
	for n, i := range batch {
		if ids[b.full[i].ID] {
			return n
		}
		ids[b.full[i].ID] = true
	}
	return len(batch)
}

// sendEach publishes these at once, each for itself.
func (b *bulk) sendEach(ctx context.Context, run []int) {
	errs := make([]error, len(run))
	var all sync.WaitGroup
	for n, i := range run {
		all.Go(func() {
			ack, err := b.p.send(ctx, b.asked[i], b.full[i])
			if errs[n] = err; err == nil {
				b.result.Acks[i] = ack
			}
		})
	}
	all.Wait()
	for n, err := range errs {
		if err != nil {
			b.fail(run[n:n+1], err)
		}
	}
}

// fail notes that these statements are not known to be stored.
func (b *bulk) fail(batch []int, err error) {
	for _, i := range batch {
		b.errs[i] = err
	}
	if errors.Is(err, ErrFull) || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrLayout) {
		b.over = err
	}
}

// batchPatience is how long a batch is repeated that the server drops. It may be changing its leader; or somebody who may
// publish anything, a beacon say, holds all the batches that a stream may have under way.
const batchPatience = 2 * time.Second

var (
	// errBatchRefused: this batch cannot be stored as a batch, its statements may be.
	errBatchRefused = errors.New("not as a batch")
	errBatchDropped = errors.New("the server dropped the batch")
)

// attempt publishes one atomic batch, or hears that one before has been stored.
func (b *bulk) attempt(at *attempts, batch []int) error {
	ack, err := at.try(func() (*nats.Msg, error) { return b.open(batch) })
	if err != nil {
		return batchError(err)
	}
	if ack.BatchSize != len(batch) || ack.Sequence < uint64(len(batch)) {
		// Stored some other way than as one batch: ask for each.
		return errBatchRefused
	}
	first := ack.Sequence - uint64(len(batch)) + 1
	for n, i := range batch {
		b.result.Acks[i].Sequence = first + uint64(n)
	}
	return nil
}

// open sends all of a batch but its last message, which commits it and is answered.
func (b *bulk) open(batch []int) (*nats.Msg, error) {
	id := nuid.Next() // a new one each time: what is left of an earlier attempt must not mix in
	for n, i := range batch {
		m := b.p.message(&b.full[i])
		m.Header[headerBatchID] = []string{id}
		m.Header[headerBatchSequence] = []string{strconv.Itoa(n + 1)}
		if n == len(batch)-1 {
			m.Header[headerBatchCommit] = []string{"1"}
			return m, nil
		}
		if err := b.p.nc.PublishMsg(m); err != nil {
			return nil, connError(err)
		}
	}
	return nil, errBatchRefused // an empty one; there are none
}

// batchError tells what concerns the batch as such from what concerns its
// statements.
func batchError(err error) error {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return err
	}
	switch code := api.ErrorCode; {
	case code == codeIncompleteBatch || code == codeTooManyInFlight:
		return &publishError{kind: ErrUnavailable, hint: "publish it again", cause: fmt.Errorf("%w: %w", errBatchDropped, err), again: true}
	case code == codeDuplicateInBatch, api.Code == 400:
		return fmt.Errorf("%w: %w", errBatchRefused, err)
	}
	return err
}

func (b *bulk) finish() (BatchResult, error) {
	for i, err := range b.errs {
		if err != nil {
			b.result.Failed = append(b.result.Failed, BatchFailure{Index: i, Err: err})
		}
	}
	if len(b.result.Failed) == 0 {
		return b.result, nil
	}
	first := b.result.Failed[0]
	return b.result, fmt.Errorf("%d of %d revocations not published, the first is number %d: %w", len(b.result.Failed), len(b.errs), first.Index+1, first.Err)
}
