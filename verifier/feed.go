package verifier

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/quash-auth/quash/cache"
	"github.com/quash-auth/quash/events"
)

// Feed delivers the statements and says how complete the view is. *events.Subscriber is one.
type Feed interface {
	// Run hands every statement to apply until ctx ends, and then returns nil. If apply fails, the statements of that
	// batch must be handed over again, and the view must not count as newer than before it.
	Run(ctx context.Context, apply events.Apply) error
	// Freshness says how old the view may be at now. It is called for every token: it must take no lock and not allocate.
	// Nothing may count as seen for which apply has not returned nil.
	Freshness(now time.Time) events.Freshness
	// Status returns a snapshot. Its Layout must be filled before Freshness says Synced; zero values are the defaults.
	Status() events.Status
	// WaitApplied returns nil once everything up to the position was applied, an error if the event there could not
	// be read, or the error of ctx.
	WaitApplied(ctx context.Context, at events.Position) error
}

// apply puts a batch of the feed into force. The feed never calls it twice at once.
func (v *Verifier) apply(ctx context.Context, batch []events.Event) error {
	v.batch = v.batch[:0]
	for i := range batch {
		if s, ok := statement(&batch[i]); ok {
			v.batch = append(v.batch, s)
		} else {
			v.unusable.Add(1) // a Feed of somebody's own; events.Decode lets none through
		}
	}
	if len(v.batch) == 0 {
		return nil
	}
	v.keeper.keep(v.deny, v.batch)
	err := v.deny.Apply(v.batch)
	full := errors.Is(err, cache.ErrFull)
	if v.full.Store(full); full && v.keeper != nil && v.keeper.file != nil {
		v.keeper.file.Fail(err) // what found no room would be appended again and again
	}
	v.watchers.applied(v.batch) // even after an error: some are in force
	if errors.Is(err, cache.ErrInvalid) && !full {
		v.unusable.Add(1) // to read it again would not help
		return nil
	}
	if err == nil && v.log.Enabled(ctx, slog.LevelDebug) {
		for i := range batch { // for whoever follows a case by its txn; whom it concerns is in the audit trail only
			r := &batch[i].Revocation
			v.log.Debug("verifier: revocation in force", "id", r.ID, "sequence", batch[i].Sequence, "scope", r.Scope.String(), "txn", r.Txn)
		}
	}
	return err
}

// statement translates an event into what the denylist holds. Instants become whole seconds: Before is rounded down as
// iat is, Until is rounded up.
func statement(e *events.Event) (cache.Statement, bool) {
	r := &e.Revocation
	s := cache.Statement{
		Issuer: r.Issuer, Key: r.Key, Gen: r.Gen,
		Until: unixCeil(r.Until), Sequence: e.Sequence,
	}
	switch r.Scope {
	case events.Token:
		s.Scope = cache.Token
	case events.Session:
		s.Scope = cache.Session
	case events.Subject:
		s.Scope = cache.Subject
	case events.Client:
		s.Scope = cache.Client
	case events.Key:
		s.Scope = cache.Key
	case events.Issuer:
		s.Scope = cache.Issuer
	default:
		return s, false
	}
	if r.Scope >= events.Subject {
		s.Before = max(r.Before.Unix(), 1) // 0 means none to the denylist
		if r.Scope == events.Key && r.Before.IsZero() {
			s.Before = cache.Always
		}
	}
	return s, r.Issuer != "" && (r.Key == "") == (r.Scope == events.Issuer) && s.Until > 0
}

func unixCeil(t time.Time) int64 {
	s := t.Unix()
	if t.Nanosecond() > 0 {
		s++
	}
	return s
}
