package events

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Ack is the stream's confirmation that a statement is stored.
type Ack struct {
	ID        string
	Sequence  uint64 // in the stream; followers count by it
	Duplicate bool   // it had been stored before under this ID
}

// Headers of a publication.
const (
	headerTTL           = "Nats-TTL"
	headerBatchID       = "Nats-Batch-Id"
	headerBatchSequence = "Nats-Batch-Sequence"
	headerBatchCommit   = "Nats-Batch-Commit"
)

// Publish completes and checks r and publishes it. It returns nil only when the
// stream has stored the statement; until then the caller has no promise. While
// ctx lasts (at most 30 s without a deadline) it repeats, always with the same
// ID, what may succeed later.
//
// Errors: ErrInvalid (fix the input; nothing was published), ErrUnavailable
// (publish again, with the same ID), ErrFull (an operator must make room),
// ErrLayout (an operator must look at the stream).
func (p *Publisher) Publish(ctx context.Context, r Revocation) (Ack, error) {
	full, err := p.Complete(ctx, r)
	if err != nil {
		return Ack{}, err
	}
	return p.send(ctx, r, full)
}

// send publishes full. asked is the same statement as the caller gave it.
func (p *Publisher) send(ctx context.Context, asked, full Revocation) (Ack, error) {
	at, end := p.begin(ctx)
	defer end()
	ctx = at.ctx
	var ack Ack
	err := retry(ctx, func() (again bool, err error) {
		a, err := at.try(func() (*nats.Msg, error) { return p.message(&full), nil })
		if err != nil {
			return repeatable(err), err
		}
		ack = Ack{ID: full.ID, Sequence: a.Sequence, Duplicate: a.Duplicate}
		if !a.Duplicate {
			return false, nil
		}
		return p.sameAs(ctx, asked, full, a.Sequence)
	})
	if err != nil {
		return Ack{}, fmt.Errorf("publish revocation %s: %w", full.ID, err)
	}
	return ack, nil
}

func (p *Publisher) message(r *Revocation) *nats.Msg {
	m := &nats.Msg{Subject: SubjectFor(r.Scope), Header: make(nats.Header, 5)}
	m.Header[nats.MsgIdHdr] = []string{r.ID}
	m.Header[headerTTL] = []string{ttl(r.Until, p.now())}
	m.Data = r.append(make([]byte, 0, 192+len(r.Key)+len(r.Reason)))
	return m
}

// ttl is the time left until an instant in whole seconds, rounded up; the
// server accepts nothing below one.
func ttl(until, now time.Time) string {
	left := until.Sub(now)
	s := int64(left / time.Second)
	if left%time.Second > 0 {
		s++
	}
	return strconv.FormatInt(max(s, 1), 10)
}

// pubAck is the server's answer to a publication.
type pubAck struct {
	Stream    string              `json:"stream"`
	Sequence  uint64              `json:"seq"`
	Duplicate bool                `json:"duplicate"`
	BatchSize int                 `json:"count"`
	Error     *jetstream.APIError `json:"error"`
}

// publishError is why one attempt failed.
type publishError struct {
	kind  error // a sentinel of this package
	hint  string
	cause error
	again bool // another attempt may succeed by itself
}

func (e *publishError) Error() string {
	text := e.kind.Error() + ": " + e.hint
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

func (e *publishError) Unwrap() []error {
	if e.cause == nil {
		return []error{e.kind}
	}
	return []error{e.kind, e.cause}
}

func repeatable(err error) bool {
	var e *publishError
	return errors.As(err, &e) && e.again
}

// connError explains an attempt that got no answer.
func connError(err error) error {
	e := &publishError{kind: ErrUnavailable, cause: err, again: true}
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		e.hint = "nobody takes revocations: the stream " + StreamName + " is missing (run `quash stream ensure`) or has no leader right now"
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		e.hint, e.again = "the connection was closed by this program", false
	case errors.Is(err, nats.ErrMaxPayload):
		e.hint, e.again = "the server's max_payload is too small, raise it to 64 KiB or more", false
	case errors.Is(err, nats.ErrTimeout), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		e.hint = "no confirmation in time, publish again with the same ID"
	default:
		e.hint = "not connected to NATS, publish again with the same ID"
	}
	return e
}

// apiError explains the server's refusal.
func apiError(api *jetstream.APIError) error {
	e := &publishError{kind: ErrUnavailable, cause: api}
	switch code := api.ErrorCode; {
	case code == codeStoreFailed && !strings.Contains(api.Description, "exceeded") && !strings.Contains(api.Description, "space"):
		e.hint, e.again = "the server could not store it, look at its log", true
	case fullCode(api):
		e.kind, e.hint = ErrFull, "the server refuses more statements, raise max_bytes of the stream or free space"
	case code == codeTooLarge:
		e.kind, e.hint = ErrLayout, "the stream's max_msg_size is too small, run `quash stream check`"
	case code == codeNotEnabled || code == codeNotEnabledAccount:
		e.hint = "JetStream is off for this server or account, enable it"
	case api.Code == 400:
		e.kind, e.hint = ErrLayout, "the stream refuses the way we publish, run `quash stream check`"
	default:
		e.hint, e.again = "the server cannot store it now, publish again with the same ID", true
	}
	return e
}

// sameAs makes sure that the statement stored under our ID is ours: the server
// compares only IDs, and a reused one must not swallow another statement. What
// the caller left open (asked) may differ, as when a call is repeated.
func (p *Publisher) sameAs(ctx context.Context, asked, full Revocation, seq uint64) (again bool, err error) {
	stored, err := p.load(ctx, seq)
	if err != nil {
		return repeatable(err), err
	}
	if stored.Issuer != full.Issuer || stored.Scope != full.Scope || stored.Key != full.Key || stored.Gen < full.Gen ||
		!asked.Before.IsZero() && stored.Before.Before(full.Before) ||
		!asked.Until.IsZero() && stored.Until.Before(full.Until) {
		return false, badField("id", "%q was used for another revocation a moment ago (sequence %d); this one was not stored", full.ID, seq)
	}
	return false, nil
}

// load reads one stored statement.
func (p *Publisher) load(ctx context.Context, seq uint64) (Revocation, error) {
	ctx, cancel := context.WithTimeout(ctx, p.ackWait)
	defer cancel()
	m, err := p.nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+StreamName, []byte(`{"seq":`+strconv.FormatUint(seq, 10)+`}`))
	if err != nil {
		return Revocation{}, connError(err)
	}
	if status := m.Header.Get("Status"); status != "" {
		// A replica that lags, or the statement has expired meanwhile.
		return Revocation{}, &publishError{kind: ErrUnavailable, hint: fmt.Sprintf("the ID was used before and what was stored cannot be read (status %s), publish with a new ID", status), again: true}
	}
	r, err := Decode(m.Data)
	if err == nil && header(m, hdrSubject) != SubjectFor(r.Scope) {
		// Who may send beacons and knew the ID could have swallowed the statement.
		err = errors.New("it is not among the revocations")
	}
	if err != nil {
		return Revocation{}, badField("id", "was used a moment ago for something else (sequence %d): %v", seq, err)
	}
	return r, nil
}

// retry calls try until it succeeds, says that another attempt is useless, or
// ctx ends; the waits grow and are random. It returns the last error of try
// that was not merely the end of ctx.
func retry(ctx context.Context, try func() (again bool, err error)) error {
	const most = 500 * time.Millisecond
	var why error
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, most) {
		again, err := try()
		if err == nil || !again {
			return err
		}
		if ctx.Err() != nil && why != nil {
			return fmt.Errorf("%w; gave up: %w", why, context.Cause(ctx))
		}
		why = err
		timer := time.NewTimer(wait/2 + rand.N(wait))
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
}
