package issuer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quash-auth/quash/cache"
	"github.com/quash-auth/quash/events"
)

// Revoke ends what the statement names, here and on every node: first the refresh side, durably, together with the intent to
// publish, then the statement. It is the one way by which sessions end. The statement's Issuer may be empty; Gen of a
// subject may be zero, which raises the subject's generation, to the seconds since 2025 at least.
//
// nil means that both halves are durable. On any other result the call may be repeated; what was begun is finished by
// Run in any case. Errors: events.ErrInvalid (fix the statement), ErrUnavailable (retry).
func (i *Issuer) Revoke(ctx context.Context, r events.Revocation) (events.Ack, error) {
	if r.Issuer == "" {
		r.Issuer = i.cfg.Issuer
	}
	if r.Issuer != i.cfg.Issuer {
		return events.Ack{}, &events.FieldError{Field: "iss", Problem: "is another issuer, whose sessions cannot be ended here"}
	}
	if r.Gen > events.MaxGen {
		return events.Ack{}, &events.FieldError{Field: "gen", Problem: "is above 2^53-1, the largest integer that JSON readers agree on"}
	}
	if r.By == "" {
		r.By = "system"
	}
	if err := i.connected(); err != nil {
		return events.Ack{}, err
	}
	if r.ID == "" {
		r.ID = events.NewID()
	}
	if _, err := i.complete(ctx, r); err != nil { // before anything is written
		return events.Ack{}, err
	}
	switch r.Scope {
	case events.Token:
		return i.publish(ctx, r)
	case events.Session:
		return i.endSession(ctx, r)
	default:
		return i.raise(ctx, r)
	}
}

const (
	maxRounds  = 32 // of a compare-and-set; each lost round means that somebody else's write succeeded
	maxPending = 8
)

var errContended = fmt.Errorf("%w: too many writers of one record", ErrUnavailable)

func (i *Issuer) complete(ctx context.Context, r events.Revocation) (events.Revocation, error) {
	r, err := i.publisher.Complete(ctx, r)
	if err != nil && !errors.Is(err, events.ErrInvalid) {
		err = unavailable(err)
	}
	return r, err
}

// publish is the second half. Own readers know it at once, without waiting for the stream.
func (i *Issuer) publish(ctx context.Context, r events.Revocation) (events.Ack, error) {
	if err := i.step("publish"); err != nil {
		return events.Ack{}, err
	}
	if !r.Until.IsZero() && !r.Until.After(i.cfg.Now()) && !r.At.IsZero() {
		return events.Ack{ID: r.ID}, nil // an intent of long ago: no token that it covers is alive
	}
	r, ack, err := i.deliver(ctx, r)
	if err != nil {
		return events.Ack{}, err
	}
	i.log.Info("revoked", "id", r.ID, "scope", r.Scope.String(), "sequence", ack.Sequence, "by", r.By, "actor", r.Actor,
		"reason", r.Reason, "txn", r.Txn)
	return ack, i.step("published")
}

// deliver returns the statement as it went to the stream and into the own denylist.
func (i *Issuer) deliver(ctx context.Context, r events.Revocation) (events.Revocation, events.Ack, error) {
	asked := r.Until
	r, err := i.complete(ctx, r)
	if err != nil {
		return r, events.Ack{}, err
	}
	open := r
	open.Until = asked // left open, it may differ from that of an earlier attempt with this ID
	ack, err := i.publisher.Publish(ctx, open)
	if err != nil {
		if errors.Is(err, events.ErrInvalid) {
			return r, events.Ack{}, err
		}
		return r, events.Ack{}, fmt.Errorf("publish the statement: %w", unavailable(err))
	}
	own := []cache.Statement{statement(r, ack.Sequence)}
	i.ledger.record(i.deny, []events.Revocation{r}, own)
	if err := i.deny.Apply(own); err != nil {
		i.log.Error("own denylist refused a statement", "id", r.ID, "error", err)
	}
	if !ack.Duplicate && i.wholeKey(r) {
		i.renewals.standing.published(r, i.cfg.Now().Add(i.retention.Total()))
	}
	return r, ack, nil
}

// endSession ends one session. A session that is not in the store, or in another form than ours, has no refresh side.
func (i *Issuer) endSession(ctx context.Context, r events.Revocation) (events.Ack, error) {
	for range maxRounds {
		s, err := i.session(ctx, r.Key)
		if err != nil {
			return events.Ack{}, err
		}
		if s != nil && s.Next != "" && s.State == ending {
			if ack, err := i.publishSession(ctx, s); err != nil {
				return ack, err
			}
		}
		if s == nil || s.Next != "" { // the one that lives on from the same login is meant
			if s, err = i.meant(ctx, r.Key); err != nil {
				return events.Ack{}, err
			}
			if s != nil {
				r.Key = s.sid
			}
		}
		switch {
		case s == nil:
			return i.publish(ctx, r)
		case s.Next != "":
			continue // renewed meanwhile
		case s.State == ended:
			return events.Ack{ID: s.Ended, Sequence: s.Sequence, Duplicate: true}, nil
		case s.State == live:
			whole, err := i.complete(ctx, r)
			if err != nil {
				return events.Ack{}, err
			}
			if s.Intent, err = events.Encode(whole); err != nil {
				return events.Ack{}, err
			}
			s.State = ending
			pointer, err := pointerTo(sessionKey(s.sid))
			if err != nil {
				return events.Ack{}, err
			}
			err = i.writeSession(ctx, s, pointer)
			if errors.Is(err, ErrConflict) {
				continue
			}
			if err != nil {
				return events.Ack{}, err
			}
		}
		if err := i.step("ending"); err != nil {
			return events.Ack{}, err
		}
		return i.publishSession(ctx, s)
	}
	return events.Ack{}, errContended
}

// publishSession publishes a session's intent and closes it.
func (i *Issuer) publishSession(ctx context.Context, s *session) (events.Ack, error) {
	r, err := events.Decode(s.Intent)
	if err != nil {
		return events.Ack{}, fmt.Errorf("decode the session's intent: %w", err)
	}
	ack, err := i.publish(ctx, r)
	if err != nil {
		return events.Ack{}, err
	}
	s.State, s.Intent, s.Ended, s.Sequence = ended, nil, ack.ID, ack.Sequence
	err = i.writeSession(ctx, s, write{key: pointerKey(sessionKey(s.sid)), revision: anyRevision})
	if err != nil && !errors.Is(err, ErrConflict) { // somebody else closed it, or the next repair does
		i.log.Warn("session ended, its record not closed yet", "id", ack.ID, "error", err)
	}
	return ack, nil
}

// raise ends everything of a subject, a client, a key or the issuer with one write, however many sessions that is.
//
// No token that the statement does not cover may come of a login or refresh that has not seen the mark. For subjects the
// generation sees to it. For clients and the issuer, which have none, a login or refresh takes its iat before it reads the
// marks, and here Before is not older than the second in which the mark was acknowledged: whoever missed the
// mark took its iat earlier than that.
func (i *Issuer) raise(ctx context.Context, r events.Revocation) (events.Ack, error) {
	fixed := !r.Before.IsZero()
	if fixed && r.Until.IsZero() && (r.Scope == events.Client || r.Scope == events.Issuer) {
		r.Until = i.retention.Until(r.Before) // the same whenever the call is repeated: what is covered has died by then
	}
	used := "" // an ID that a statement of an earlier attempt has
	for range maxRounds {
		rec, err := i.store.get(ctx, markKey(r.Scope, r.Key))
		if err != nil {
			return events.Ack{}, err
		}
		m, err := decodeMark(rec)
		if err != nil {
			return events.Ack{}, err
		}
		if len(m.Pending) >= maxPending {
			if err := i.publishMark(ctx, m); err != nil {
				return events.Ack{}, err
			}
			continue
		}
		whole := r
		if !fixed && r.Scope != events.Key { // a key is covered whole
			whole.Before = i.cfg.Now()
		}
		if whole, err = i.complete(ctx, m.apply(whole, r.Gen, i.cfg.Now())); err != nil {
			return events.Ack{}, err
		}
		m.join(whole, i.latestCutoff())
		text, err := events.Encode(whole)
		if err != nil {
			return events.Ack{}, err
		}
		m.drop(r.ID)
		if used != "" { // an empty one would drop what cannot be read
			m.drop(used)
		}
		m.Pending = append(m.Pending, text)
		pointer, err := pointerTo(m.key)
		if err != nil {
			return events.Ack{}, err
		}
		also, err := i.last(ctx, whole, true)
		if err != nil {
			return events.Ack{}, err
		}
		err = i.writeMark(ctx, &m, append(also, pointer)...)
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			return events.Ack{}, err
		}
		if !fixed && whole.Gen == 0 && r.Scope != events.Key && i.cfg.Now().Unix() > whole.Before.Unix() {
			continue // a second began meanwhile
		}
		if r.Scope == events.Key {
			if err := i.keys.revoke(r.Key); err != nil {
				return events.Ack{}, unavailable(err)
			}
		}
		if err := i.step("ending"); err != nil {
			return events.Ack{}, err
		}
		ack, err := i.publish(ctx, whole)
		if taken(err) {
			// An earlier attempt of this call was published, and covers less by now: one more statement, they only join.
			used, r.ID = r.ID, events.NewID()
			continue
		}
		if err != nil {
			return events.Ack{}, err
		}
		if err := i.closeMark(ctx, m.key, ack.ID); err != nil { // the next repair does it
			i.log.Warn("statement published, its intent not closed yet", "id", ack.ID, "error", err)
		}
		return ack, nil
	}
	return events.Ack{}, errContended
}

// publishMark publishes everything that is pending in a mark.
func (i *Issuer) publishMark(ctx context.Context, m mark) error {
	for _, p := range m.Pending {
		r, err := events.Decode(p)
		if err != nil {
			return fmt.Errorf("decode the mark's intent: %w", err)
		}
		if r.Scope == events.Key { // other replicas may have signed with it until they heard
			r.Until = time.Time{}
		}
		id := r.ID
		if _, err = i.publish(ctx, r); taken(err) { // a form of before, which covered less and was replaced: see raise
			r.ID = events.NewID()
			_, err = i.publish(ctx, r)
		}
		if err != nil {
			return err
		}
		if err := i.closeMark(ctx, m.key, id); err != nil {
			return err
		}
	}
	return nil
}

// taken: another statement was published under the ID.
func taken(err error) bool {
	field := (*events.FieldError)(nil)
	return errors.As(err, &field) && field.Field == "id"
}

// closeMark takes a published statement off the mark.
func (i *Issuer) closeMark(ctx context.Context, key, id string) error {
	for range maxRounds {
		rec, err := i.store.get(ctx, key)
		if err != nil {
			return err
		}
		m, err := decodeMark(rec)
		if err != nil {
			return err
		}
		if !m.pendingID(id) {
			return nil
		}
		m.drop(id)
		var also []write
		if len(m.Pending) == 0 {
			also = append(also, write{key: pointerKey(key), revision: anyRevision})
		}
		if err := i.writeMark(ctx, &m, also...); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return errContended
}

// statement is the denylist's form.
func statement(r events.Revocation, sequence uint64) cache.Statement {
	s := cache.Statement{Scope: cache.Scope(r.Scope), Issuer: r.Issuer, Key: r.Key, Gen: r.Gen, Until: r.Until.Unix(), Sequence: sequence}
	switch {
	case !r.Before.IsZero():
		s.Before = r.Before.Unix()
	case r.Scope == events.Key:
		s.Before = cache.Always
	}
	return s
}
