package issuer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/quash-auth/quash/events"
)

// renewals say again that a key was revoked, before nodes forget it.
type renewals struct {
	// early is this replica's own: replicas come one after the other, and who comes later sees that it was done.
	early    time.Duration
	standing standing

	round  sync.Mutex         // one at a time; guards what follows
	known  map[string]lasting // by the record's key
	bounds bounds
	rounds int // done; tests wait for the first

	mu      sync.Mutex
	changed map[string]bool // records that may have been since they were read
	many    bool            // so many that all are read again
}

const changedMost = 10_000 // anybody who may publish can name any key

// again reads a record again.
func (r *renewals) again(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed == nil {
		r.changed = map[string]bool{}
	}
	if r.many = r.many || len(r.changed) >= changedMost; !r.many {
		r.changed[key] = true
	}
}

// stale are the records to read again, once. round is held.
func (r *renewals) stale() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	keys := slices.Collect(maps.Keys(r.changed))
	if r.many {
		keys = slices.Collect(maps.Keys(r.known))
	}
	r.changed, r.many = nil, false
	return keys
}

func (i *Issuer) newRenewals() *renewals {
	return &renewals{early: rand.N(i.retention.Total()/8 + 1), known: map[string]lasting{}, bounds: defaultBounds()}
}

// keepRevoked goes on until ctx ends.
func (i *Issuer) keepRevoked(ctx context.Context) {
	for i.current() != nil { // what others have renewed may not have arrived
		select {
		case <-time.After(ledgerInterval):
		case <-ctx.Done():
			return
		}
	}
	i.every(ctx, min(i.cfg.RepairInterval, i.retention.Total()/8), "renew the statements about revoked keys", nil, i.renewKeys)
}

// renewKeys publishes again what less than half a retention is left of in the stream. Statements only join: the later end counts.
func (i *Issuer) renewKeys(ctx context.Context) error {
	if i.current() != nil {
		return nil
	}
	i.renewals.round.Lock()
	defer i.renewals.round.Unlock()
	defer func() { i.renewals.rounds++ }()
	i.renewals.standing.forget(i.cfg.Now())
	all, failed := i.readLasting(ctx)
	if all == nil {
		return failed
	}
	failed = errors.Join(failed, i.adopt(ctx, all))
	ls := i.bounded(all)
	rand.Shuffle(len(ls), func(a, b int) { ls[a], ls[b] = ls[b], ls[a] }) // of replicas that come at once each begins somewhere else
	for _, l := range ls {
		if i.lasts(l.kid) {
			continue
		}
		if err := i.renewKey(ctx, l); err != nil {
			failed = errors.Join(failed, err)
			if !errors.Is(err, ErrRecord) && !errors.Is(err, events.ErrInvalid) {
				return failed // the others fail as well
			}
		}
	}
	return failed
}

// lasts: who starts now refuses the key's tokens for long enough. What another replica has published has arrived.
func (i *Issuer) lasts(kid string) bool {
	return i.renewals.standing.lasts(kid, i.cfg.Now().Add(i.retention.Total()/2-i.renewals.early))
}

// urgent: what is pending may be such that it is never said.
func (i *Issuer) urgent(l lasting) bool {
	quarter, now := i.retention.Total()/4, i.cfg.Now()
	return now.Sub(l.said.At).Abs() > quarter && !i.renewals.standing.lasts(l.kid, now.Add(quarter))
}

// renewKey says it under another ID, which nobody can have used before: who may send a beacon can take any ID that is foreseen.
func (i *Issuer) renewKey(ctx context.Context, l lasting) error {
	ctx, cancel := context.WithTimeout(ctx, i.cfg.Timeout)
	defer cancel()
	rec, err := i.store.get(ctx, markKey(events.Key, l.kid))
	if err != nil {
		return err
	}
	m, err := decodeMark(rec)
	if i.lasts(l.kid) || err == nil && len(m.Pending) > 0 && !i.urgent(l) {
		return nil // it was just now, or is about to be said for the first time, by the repair perhaps
	}
	if err := i.step("renew"); err != nil {
		return err
	}
	r := l.said
	r.ID, r.Issuer, r.Until, r.Reason = events.NewID(), i.cfg.Issuer, time.Time{}, still(r.Reason)
	r, ack, err := i.deliver(ctx, r)
	if err != nil {
		return fmt.Errorf("key %.64q: %w", l.kid, err)
	}
	i.counts.renewed.Add(1)
	i.log.Info("still revoked: statement renewed", "id", r.ID, "scope", r.Scope.String(), "kid", l.kid, "sequence", ack.Sequence, "until", r.Until)
	return nil
}

const stillRevoked = "still revoked"

// still tells a renewal from the first statement. Who decided it, and when, stays what it was.
func still(reason string) string {
	if reason == "" || reason == stillRevoked {
		return stillRevoked
	}
	reason = stillRevoked + ": " + strings.TrimPrefix(reason, stillRevoked+": ")
	if len(reason) > events.MaxText {
		reason = strings.ToValidUTF8(reason[:events.MaxText], "")
	}
	return reason
}
