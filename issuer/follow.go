package issuer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/quash-auth/quash/cache"
	"github.com/quash-auth/quash/events"
)

// apply takes statements from the stream, whoever published them: into the denylist at once, and to the reconciler, which
// writes them into the records, because sessions outlive statements.
func (i *Issuer) apply(ctx context.Context, batch []events.Event) error {
	statements, revocations := make([]cache.Statement, len(batch)), make([]events.Revocation, len(batch))
	for n, e := range batch {
		statements[n], revocations[n] = statement(e.Revocation, e.Sequence), e.Revocation
	}
	if err := i.ledger.delivered(batch[0].Rewinds, i.cfg.Now, statements); err != nil {
		return fmt.Errorf("note what the stream holds: %w", err)
	}
	i.ledger.record(i.deny, revocations, statements)
	err := i.deny.Apply(statements)
	if errors.Is(err, cache.ErrInvalid) && !errors.Is(err, cache.ErrFull) {
		// One statement that makes no sense must not keep the others, and all later ones, from being in force.
		i.poisoned.Do(func() {
			i.log.Error("the stream holds a statement that makes no sense; it and all further ones are skipped and counted",
				"error", err, "from_sequence", batch[0].Sequence, "to_sequence", batch[len(batch)-1].Sequence)
		})
		err = nil
	}
	if err != nil {
		return fmt.Errorf("apply to the denylist: %w", err)
	}
	for _, e := range batch {
		i.stands(e)
		if e.Revocation.Issuer != i.cfg.Issuer || e.Revocation.Scope == events.Token {
			continue
		}
		if e.Revocation.Scope == events.Key && i.keys.has(e.Revocation.Key) {
			if err := i.keys.revoke(e.Revocation.Key); err != nil {
				return fmt.Errorf("take a revoked key out of use: %w", err)
			}
		}
		if e.Revocation.Scope == events.Client {
			signal(i.registrar.wake) // another replica may know a newer file
		}
		if err := i.backlog.add(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// cursor says up to where the records agree with the stream.
type cursor struct {
	Sequence uint64 `json:"seq"`
	Time     int64  `json:"time"` // ms, of the server
}

const (
	cursorKey  = "c.reconciled"
	backlogMax = 1 << 16
	backlogRun = 16 // reconciled at once
	parkedMost = 1024
)

// backlog is the reconciler's queue.
type backlog struct {
	wake chan struct{} // one slot: something was added
	room chan struct{} // one slot: something was taken

	mu     sync.Mutex // guards what follows
	queue  []events.Event
	cursor cursor // everything up to it is done, but for the parked
	parked []events.Event
	// overflow: more were parked than fit.
	overflow bool
}

func newBacklog() *backlog {
	return &backlog{wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// add waits while the queue is full.
func (b *backlog) add(ctx context.Context, e events.Event) error {
	for {
		b.mu.Lock()
		// After a restore from an older copy sequences come again, but server time does not.
		done := e.Sequence <= b.cursor.Sequence && e.Time.UnixMilli() <= b.cursor.Time
		full := len(b.queue) >= backlogMax
		if !done && !full {
			b.queue = append(b.queue, e)
		}
		b.mu.Unlock()
		if !full || done {
			signal(b.wake)
			return nil
		}
		select {
		case <-b.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (b *backlog) head() []events.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.queue[:min(len(b.queue), backlogRun):min(len(b.queue), backlogRun)]
}

// done removes the head.
func (b *backlog) done(head []events.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := head[len(head)-1]
	if b.queue = b.queue[len(head):]; len(b.queue) == 0 {
		b.queue = nil
	}
	if at := last.Time.UnixMilli(); at >= b.cursor.Time {
		b.cursor = cursor{last.Sequence, at}
	}
	signal(b.room)
}

// park sets a statement aside that cannot be written, as where its record is foreign or damaged: everything that depends on the record
// is refused until it is restored. The statements behind it must not wait for that. The cursor is not saved meanwhile.
func (b *backlog) park(e events.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.parked) < parkedMost {
		b.parked = append(b.parked, e)
	} else {
		b.overflow = true // the stream has them all: the next start reads them again
	}
}

// unpark tries those again.
func (i *Issuer) unpark(ctx context.Context) error {
	i.backlog.mu.Lock()
	parked := i.backlog.parked
	i.backlog.mu.Unlock()
	left, failed := []events.Event(nil), error(nil)
	for _, e := range parked {
		if err := i.reconcileOne(ctx, e); err != nil {
			left, failed = append(left, e), err
		}
	}
	i.backlog.mu.Lock()
	defer i.backlog.mu.Unlock()
	i.backlog.parked = append(left, i.backlog.parked[len(parked):]...)
	return failed
}

// reconcile writes other publishers' statements into the records until ctx ends.
func (i *Issuer) reconcile(ctx context.Context) {
	for ctx.Err() == nil {
		head := i.backlog.head()
		if len(head) == 0 {
			select {
			case <-i.backlog.wake:
			case <-ctx.Done():
			}
			continue
		}
		if err := i.reconcileAll(ctx, head); err != nil {
			if ctx.Err() == nil {
				i.log.Warn("write the stream's statements into the records failed, retrying", "error", err)
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			continue
		}
		i.backlog.done(head)
	}
}

func (i *Issuer) reconcileAll(ctx context.Context, head []events.Event) error {
	ctx, cancel := context.WithTimeout(ctx, i.cfg.Timeout)
	defer cancel()
	failed := make(chan error, len(head))
	for _, e := range head {
		go func() {
			err := i.reconcileOne(ctx, e)
			if err != nil && !passing(err) {
				i.log.Error("cannot write a statement into its record; it is tried again with every repair", "id", e.Revocation.ID, "sequence", e.Sequence, "error", err)
				i.backlog.park(e)
				err = nil
			}
			failed <- err
		}()
	}
	var err error
	for range head {
		err = errors.Join(err, <-failed)
	}
	return err
}

// passing: the store's error, not the statement's, so that all others would fail as well. Anything else is set aside.
func passing(err error) bool {
	if errors.Is(err, ErrRecord) {
		return false
	}
	return errors.Is(err, ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// reconcileOne is idempotent: records only ever move towards the end.
func (i *Issuer) reconcileOne(ctx context.Context, e events.Event) error {
	r := e.Revocation
	for range maxRounds {
		var err error
		if r.Scope == events.Session {
			err = i.reconcileSession(ctx, e)
		} else {
			rec, err2 := i.store.get(ctx, markKey(r.Scope, r.Key))
			if err2 != nil {
				return err2
			}
			m, err2 := decodeMark(rec)
			if err2 != nil {
				return err2
			}
			also, err2 := i.last(ctx, r, false)
			if err2 != nil {
				return err2
			}
			switch {
			case m.join(r, i.latestCutoff()):
				err = i.writeMark(ctx, &m, also...)
			case len(also) > 0:
				_, err = i.store.commit(ctx, also...)
			default:
				return nil
			}
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return errContended
}

func (i *Issuer) reconcileSession(ctx context.Context, e events.Event) error {
	r := e.Revocation
	s, err := i.session(ctx, r.Key)
	switch {
	case err != nil, s != nil && s.Next != "" && s.about(r.ID):
		return err
	case s == nil || s.Next != "": // somebody means the login: its heir ends too
		if s, err = i.meant(ctx, r.Key); err != nil || s == nil || s.State != live {
			return err
		}
		_, err = i.endSession(ctx, sayable(events.Revocation{ID: events.NewID(), Issuer: r.Issuer, Scope: r.Scope, Key: s.sid,
			By: r.By, Actor: r.Actor, Reason: r.Reason, Txn: r.Txn}))
		return err
	case s.State != live: // ending: whoever began it finishes it
		return nil
	}
	s.State, s.Ended, s.Sequence = ended, r.ID, e.Sequence
	return i.writeSession(ctx, s)
}

// loadCursor spares a restarted issuer the statements that are in the records already.
func (i *Issuer) loadCursor(ctx context.Context) error {
	r, err := i.store.get(ctx, cursorKey)
	if err != nil || !r.exists() {
		return err
	}
	var c cursor
	if err := r.decode(kindCursor, field{name: "seq", into: &c.Sequence}, field{name: "time", into: &c.Time}); err != nil {
		return err
	}
	i.backlog.mu.Lock()
	defer i.backlog.mu.Unlock()
	i.backlog.cursor = c
	return nil
}

// saveCursor runs with the repairs. Replicas overwrite each other's cursor; an older one only means more to read.
func (i *Issuer) saveCursor(ctx context.Context) error {
	i.backlog.mu.Lock()
	c, behind := i.backlog.cursor, i.backlog.overflow || len(i.backlog.parked) > 0
	i.backlog.mu.Unlock()
	if c == i.saved || behind {
		return nil
	}
	value, err := encodeRecord(kindCursor, cursorKey, c)
	if err != nil {
		return err
	}
	if _, err = i.store.put(ctx, write{key: cursorKey, value: value, revision: anyRevision}); err == nil {
		i.saved = c
	}
	return err
}
