package issuer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/quash-auth/quash/cache"
	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/snapshot"
)

// ledger is a file of every living statement, so that a stream which was wiped, recreated or restored from an older copy gets back
// what it lost: nodes that start afterwards would never hear of it. Repetition is harmless, statements only join.
type ledger struct {
	path string
	file *snapshot.Writer // nil: no ledger

	mu      sync.Mutex // guards what follows
	seen    *cache.Denylist
	held    *cache.Denylist // being compared, which alone may close it
	rewinds uint64          // of the feed, when seen was begun
	begun   bool
	newest  uint64          // sequence that seen has
	whole   events.Position // up to where the stream holds what the file holds; zero: not known yet
}

// ledgerInterval is how soon a loss is noticed once the stream was read: nodes that start meanwhile miss what was lost.
const ledgerInterval = 100 * time.Millisecond

// lastMoment: what ends within it is past before a node has it.
const lastMoment = 2 * time.Second

// seenDetails: only presence matters.
const seenDetails = 1 << 20

// record appends the statements that the denylist does not hold yet, for as long. It comes before the denylist, or the denylist would say
// that it holds them.
func (l *ledger) record(deny *cache.Denylist, rs []events.Revocation, statements []cache.Statement) {
	if l.file == nil {
		return
	}
	var news []snapshot.Statement
	for n, s := range statements {
		if deny.Lasts(s) {
			continue
		}
		text, err := events.Encode(sayable(rs[n])) // what the denylist takes has to come back, whatever its audit trail looks like
		if err != nil {
			continue // cannot be: it was decoded
		}
		news = append(news, snapshot.Statement{Scope: uint8(s.Scope), Issuer: s.Issuer, Key: s.Key, Before: s.Before, Gen: s.Gen,
			Until: s.Until, Sequence: s.Sequence, Text: string(text)})
	}
	if len(news) > 0 {
		_ = l.file.Add(news) // it stays in file.Err, which tend reports
	}
}

// delivered notes what the stream holds, from its start or since it began to be read again.
func (l *ledger) delivered(rewinds uint64, now func() time.Time, statements []cache.Statement) error {
	if l.file == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.begun || l.rewinds < rewinds {
		if err := l.begin(rewinds, now); err != nil {
			return err
		}
	}
	if l.rewinds != rewinds {
		return nil // of the stream before: this one does not hold it
	}
	if l.seen == nil {
		return nil
	}
	for _, s := range statements {
		l.newest = max(l.newest, s.Sequence)
	}
	if err := l.seen.Apply(statements); err != nil && !errors.Is(err, cache.ErrInvalid) {
		return err
	}
	return nil
}

// begin starts over; the lock is held.
func (l *ledger) begin(rewinds uint64, now func() time.Time) error {
	if l.seen != nil && l.seen != l.held {
		if err := l.seen.Close(); err != nil {
			return err
		}
	}
	seen, err := cache.New(cache.Config{DetailBytes: seenDetails, Now: now})
	if err != nil {
		return err
	}
	l.seen, l.rewinds, l.begun, l.newest, l.whole = seen, rewinds, true, 0, events.Position{}
	return nil
}

// tend gives the stream back what it lost, once it was read, and keeps the file small.
func (i *Issuer) tend(ctx context.Context) error {
	l := &i.ledger
	if l.file == nil {
		return nil
	}
	if err := l.file.Err(); err != nil { // what it holds is given back nevertheless
		return errors.Join(fmt.Errorf("the ledger is not written any more: %w", err), i.giveBack(ctx))
	}
	if err := i.giveBack(ctx); err != nil {
		return err
	}
	if l.file.Due() {
		return l.file.Compact(i.living)
	}
	return nil
}

func (i *Issuer) giveBack(ctx context.Context) error {
	l := &i.ledger
	if i.current() != nil {
		return nil // not read yet
	}
	st := i.feed.Status()
	if st.Sequence == 0 {
		return nil // what is current is of the stream before this one
	}
	rewinds := st.Rewinds
	l.mu.Lock()
	if !l.begun || l.rewinds < rewinds { // nothing was delivered: perhaps it is empty
		if err := l.begin(rewinds, i.cfg.Now); err != nil {
			l.mu.Unlock()
			return err
		}
	}
	seen := l.seen
	if l.rewinds != rewinds {
		seen = nil // it is another stream again
	}
	l.held = seen
	l.mu.Unlock()
	if seen == nil {
		return nil // compared already
	}
	defer l.compared(seen)
	lost, err := i.missing(seen)
	if err != nil {
		return err
	}
	if len(lost) > 0 {
		i.log.Warn("the stream has lost statements, giving them back", "statements", len(lost))
		last, err := i.publishLost(ctx, lost, seen)
		if err != nil {
			return fmt.Errorf("give the stream back what it lost: %w", unavailable(err))
		}
		st.Sequence = max(st.Sequence, last)
		i.log.Warn("the stream has its statements again", "statements", len(lost))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen != seen {
		return nil // it was begun anew meanwhile
	}
	l.seen = nil
	if l.file.Err() == nil { // else nobody knows what it lacks
		l.whole = events.Position{Stream: st.Created, Sequence: max(st.Sequence, l.newest)}
	}
	return nil
}

// compared closes what was compared, unless it has to be compared again.
func (l *ledger) compared(seen *cache.Denylist) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = nil
	if l.seen != seen {
		_ = seen.Close() // nobody asks it any more
	}
}

// sayWhole answers nodes that start: they wait until the stream has back what it lost. Before Run it answers nothing: they hear that there
// is somebody, and another replica that runs can answer.
func (i *Issuer) sayWhole() events.Whole {
	if !i.running.Load() || i.stopped.Load() {
		return events.Whole{}
	}
	w := events.Whole{Node: i.cfg.Node}
	l := &i.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen != nil || l.whole.Sequence == 0 {
		return w
	}
	// Behind a new connection may be an older copy of the stream, until the feed has looked.
	now, cancel := context.WithCancel(context.Background())
	cancel()
	if err := i.feed.WaitApplied(now, l.whole); err != nil && !errors.Is(err, events.ErrUndecodable) {
		return w
	}
	st := i.feed.Status()
	if l.rewinds != st.Rewinds || !st.Connected {
		return w
	}
	// Up to what was seen since: a node that is not that far follows a copy which is older.
	w.At = l.whole
	w.At.Sequence = max(w.At.Sequence, st.Sequence)
	return w
}

// missing are the statements of the file that live and are not among those that were delivered.
func (i *Issuer) missing(seen *cache.Denylist) ([]events.Revocation, error) {
	var lost []events.Revocation
	already := map[string]bool{}
	soonest := i.cfg.Now().Add(lastMoment).Unix()
	_, err := snapshot.Read(i.ledger.path, i.ledgerID(), func(batch []snapshot.Statement) error {
		for _, s := range batch {
			if s.Until <= soonest || s.Text == "" || seen.Holds(restored(s)) {
				continue
			}
			r, err := events.Decode([]byte(s.Text))
			if err != nil || already[r.ID] {
				continue // another version's; its own issuer gives it back
			}
			already[r.ID] = true
			lost = append(lost, r)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	return lost, nil
}

func (l *ledger) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	if l.seen != nil {
		err = l.seen.Close()
		l.seen = nil
	}
	if l.file != nil {
		err = errors.Join(err, l.file.Close())
	}
	return err
}
