package events

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// PublisherConfig configures a Publisher.
type PublisherConfig struct {
	// Conn is the connection to publish over, see Connect. Required; never
	// closed by the publisher.
	Conn *nats.Conn
	// Retention, where not zero, replaces what the stream says. It may only be
	// longer: statements must not be forgotten before the tokens have died.
	Retention Retention
	// By is who starts revocations that do not say so. Empty means "system".
	By string
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
	// AckWait is how long one attempt waits for the stream's confirmation before
	// it is repeated; one that comes later still counts. Zero means 2 s.
	AckWait time.Duration
}

// Publisher publishes revocations. Its methods are safe for concurrent use; it
// holds nothing that needs closing.
type Publisher struct {
	nc        *nats.Conn
	js        jetstream.JetStream
	retention Retention
	by        string
	now       func() time.Time
	ackWait   time.Duration
	roster    roster

	mu     sync.Mutex // guards what follows
	bounds bounds
	asked  time.Time // when bounds were read; zero: never
}

// bounds is what the stream can promise.
type bounds struct {
	retention Retention
	maxAge    time.Duration // 0: no bound
}

const (
	defaultAckWait = 2 * time.Second
	boundsFresh    = time.Minute
	// longestPublish bounds a publish whose context has no deadline.
	longestPublish = 30 * time.Second
)

// NewPublisher checks the configuration. It does not touch the network.
func NewPublisher(c PublisherConfig) (*Publisher, error) {
	if c.Conn == nil {
		return nil, badField("conn", "required: open a connection with events.Connect")
	}
	if err := c.Retention.check(); err != nil {
		return nil, err
	}
	if c.AckWait < 0 {
		return nil, badField("ack_wait", "%v is negative", c.AckWait)
	}
	p := &Publisher{nc: c.Conn, retention: c.Retention, by: c.By, now: c.Now, ackWait: c.AckWait}
	if p.by == "" {
		p.by = "system"
	}
	if err := (&Revocation{By: p.by}).checkAudit(); err != nil {
		return nil, err
	}
	if p.now == nil {
		p.now = time.Now
	}
	if p.ackWait == 0 {
		p.ackWait = defaultAckWait
	}
	var err error
	if p.js, err = jetstream.New(c.Conn, jetstream.WithDefaultTimeout(p.ackWait)); err != nil {
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	return p, nil
}

// Complete fills what a statement leaves open: ID, At, By, Before (the present,
// for the scopes that have it) and Until (from the retention); rounds the
// instants; and checks the result against what the stream keeps. What it returns
// can be published more than once without a change of meaning.
//
// Errors: ErrInvalid, ErrUnavailable (the stream could not be asked), ErrLayout.
func (p *Publisher) Complete(ctx context.Context, r Revocation) (Revocation, error) {
	b, err := p.stream(ctx)
	if err != nil {
		return r, err
	}
	return p.complete(r, b)
}

// Retention is for how long statements without an Until are remembered: what the stream says,
// or Config's where that is longer. Errors: ErrInvalid (Config's is shorter, or longer than the stream keeps anything),
// ErrUnavailable (the stream could not be asked), ErrLayout.
func (p *Publisher) Retention(ctx context.Context) (Retention, error) {
	b, err := p.stream(ctx)
	return b.retention, err
}

func (p *Publisher) complete(r Revocation, b bounds) (Revocation, error) {
	now := p.now()
	if r.ID == "" {
		r.ID = NewID()
	}
	if r.At.IsZero() {
		r.At = now
	}
	r.At = r.At.UTC().Truncate(time.Millisecond)
	if r.By == "" {
		r.By = p.by
	}
	if r.Before.IsZero() && r.Scope.cutoff() {
		r.Before = now
	}
	if !r.Before.IsZero() {
		r.Before = floor(r.Before)
	}
	horizon := ceil(now.Add(b.maxAge))
	if r.Until.IsZero() {
		from := now
		if r.Before.After(now) {
			from = r.Before // it covers tokens that are yet to be issued
		}
		r.Until = b.retention.Until(from)
		if b.maxAge > 0 && r.Until.After(horizon) {
			if r.Before.Sub(now) > b.retention.Skew {
				return r, badField("before", "%s is too far in the future: the stream keeps a statement for %v, tokens issued then would outlive it", stamp(r.Before), b.maxAge)
			}
			r.Until = horizon // two clocks that differ
		}
	}
	r.Until = ceil(r.Until)
	if b.maxAge > 0 && r.Until.After(horizon) {
		return r, badField("until", "%s is further away than the %v the stream keeps a statement", stamp(r.Until), b.maxAge)
	}
	if r.Gen > MaxGen {
		return r, badField("gen", "%d is above %d", r.Gen, uint64(MaxGen))
	}
	if err := r.Validate(now); err != nil {
		return r, err
	}
	return r, nil
}

// stream returns what the stream promises, from memory if that is fresh.
func (p *Publisher) stream(ctx context.Context) (bounds, error) {
	p.mu.Lock()
	b, asked := p.bounds, p.asked
	p.mu.Unlock()
	if age := p.now().Sub(asked); !asked.IsZero() && age >= 0 && age < boundsFresh {
		return b, nil
	}
	fresh, err := p.readBounds(ctx)
	if err != nil {
		if !asked.IsZero() && errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrLayout) {
			return b, nil // the publish itself will tell
		}
		return bounds{}, err
	}
	p.mu.Lock()
	p.bounds, p.asked = fresh, p.now()
	p.mu.Unlock()
	return fresh, nil
}

func (p *Publisher) readBounds(ctx context.Context) (b bounds, err error) {
	ctx, cancel := context.WithTimeout(ctx, longestPublish)
	defer cancel()
	var layout Layout
	err = retry(ctx, func() (again bool, err error) {
		actx, cancel := context.WithTimeout(ctx, p.ackWait)
		defer cancel()
		cfg, err := streamConfig(actx, p.js)
		if err != nil {
			if errors.Is(err, ErrLayout) {
				return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
			}
			return !p.nc.IsClosed(), err
		}
		b.maxAge = cfg.MaxAge
		layout, err = LayoutOf(cfg)
		return false, err
	})
	if err != nil {
		return bounds{}, err
	}
	b.retention = layout.Retention
	for _, f := range [...]struct {
		name       string
		given, got time.Duration
		set        *time.Duration
	}{
		{"max_token_life", p.retention.MaxTokenLife, layout.Retention.MaxTokenLife, &b.retention.MaxTokenLife},
		{"leeway", p.retention.Leeway, layout.Retention.Leeway, &b.retention.Leeway},
		{"skew", p.retention.Skew, layout.Retention.Skew, &b.retention.Skew},
	} {
		if f.given == 0 {
			continue
		}
		if f.given < f.got {
			return bounds{}, badField(f.name, "%v is shorter than the %v that the stream was created for: tokens would outlive the statements about them", f.given, f.got)
		}
		*f.set = f.given
	}
	if b.maxAge > 0 && b.retention.Total() > b.maxAge {
		return bounds{}, badField("max_token_life", "tokens can live %v with leeway and skew, the stream keeps statements for %v: tokens would outlive the statements about them", b.retention.Total(), b.maxAge)
	}
	return b, nil
}
