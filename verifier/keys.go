package verifier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quash-auth/quash/internal/jws"
)

const (
	unknownKidPause = 10 * time.Second // between two fetches because of unknown kids
	firstRetry      = 250 * time.Millisecond
	lastRetry       = 30 * time.Second
)

// reader is one way to get at a key set: URL, file, or nothing to read.
type reader interface {
	// read returns the key set as it is now.
	read(ctx context.Context, allowed jws.AlgSet) (*jws.KeySet, error)
	// changed reports, cheaply, that read would return something new.
	changed() bool
	// poll is how often changed is asked; 0: never.
	poll() time.Duration
}

// keySource holds the current key set of one issuer and gets new ones. Callers only ever read the pointer, except for a
// kid that is not in the set: then they wait, together, for one reading that run makes.
type keySource struct {
	issuer  string
	allowed jws.AlgSet
	from    reader // nil: static
	refresh time.Duration
	log     *slog.Logger
	now     func() time.Time

	set  atomic.Pointer[jws.KeySet] // nil: never read
	wake chan struct{}              // capacity 1: a flight waits for run

	mu      sync.Mutex // guards what follows
	running bool
	flight  *flight   // the reading callers wait for, nil if none
	asked   time.Time // when the last unknown kid led to a reading
	readAt  time.Time // when the set was last confirmed
	err     error     // why the newest reading failed, nil if it did not

	reads, failures atomic.Uint64
}

// flight is one reading that callers wait for. done is closed when it is over.
type flight struct{ done chan struct{} }

// find returns the key for a kid. It does I/O only indirectly: if the kid is unknown it waits for the shared reading, at
// most until ctx ends.
func (s *keySource) find(ctx context.Context, kid string) (*jws.KeySet, *jws.Key, error) {
	if set := s.set.Load(); set != nil {
		if k := set.Find(kid); k != nil {
			return set, k, nil
		}
	}
	if f := s.join(); f != nil {
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, nil, &keysError{s.issuer, fmt.Errorf("wait for the key set: %w", context.Cause(ctx))}
		}
	}
	set := s.set.Load()
	if set != nil {
		if k := set.Find(kid); k != nil {
			return set, k, nil
		}
	}
	s.mu.Lock()
	err := s.err
	s.mu.Unlock()
	switch {
	case set == nil || err != nil:
		return nil, nil, &keysError{s.issuer, err}
	case kid == "":
		return nil, nil, errNoKid
	}
	return nil, nil, errUnknownKid
}

var (
	errNoKid      = fmt.Errorf("%w: the token has no kid and the issuer does not have exactly one key", ErrNoKey)
	errUnknownKid = fmt.Errorf("%w: the issuer's key set does not have the kid", ErrNoKey)
)

// join returns the reading to wait for, or nil if none may be started now.
func (s *keySource) join() *flight {
	if s.from == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil {
		return s.flight
	}
	if s.running && s.set.Load() == nil && s.reads.Load() == 0 {
		s.flight = &flight{done: make(chan struct{})} // run makes the first reading without being asked
		return s.flight
	}
	now := s.now()
	if !s.running || !s.asked.IsZero() && now.Sub(s.asked) < unknownKidPause && !now.Before(s.asked) {
		return nil
	}
	s.asked = now
	s.flight = &flight{done: make(chan struct{})}
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return s.flight
}

// start lets callers wait for readings: run is about to begin.
func (s *keySource) start() {
	s.mu.Lock()
	s.running = true
	s.mu.Unlock()
}

// run reads the set at the start, when it is due and when callers wait, until ctx ends.
func (s *keySource) run(ctx context.Context) {
	if s.from == nil {
		<-ctx.Done()
		return
	}
	defer s.stop()

	retry := firstRetry
	due := time.NewTimer(0)
	if s.set.Load() != nil {
		due.Reset(s.pause())
	}
	defer due.Stop()
	var poll <-chan time.Time
	if d := s.from.poll(); d > 0 {
		t := time.NewTicker(d)
		defer t.Stop()
		poll = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll:
			if !s.from.changed() {
				continue
			}
		case <-due.C:
		case <-s.wake:
			if !s.waiting() {
				continue // the reading they waited for has been made
			}
		}
		if err := s.read(ctx); err != nil {
			due.Reset(retry + rand.N(retry/2))
			retry = min(2*retry, lastRetry, s.refresh)
		} else {
			due.Reset(s.pause())
			retry = firstRetry
		}
	}
}

func (s *keySource) waiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flight != nil
}

// pause is until the next reading without a reason, spread so that a fleet does not ask at once.
func (s *keySource) pause() time.Duration { return s.refresh - rand.N(s.refresh/10+1) }

// errEmpty: the document is a key set, so the one before is not kept, but whether a token is good cannot be said by it.
var errEmpty = errors.New("the key set holds no key that can be used, so no token of the issuer can be judged: give it the issuer's public keys, or wait until the issuer publishes one")

// read makes one reading and lets go whoever waits for it. A failed reading leaves the set as it is. One that finds no key
// takes the old ones out of use, for whoever removed them may have meant it, and is made again as soon as a failed one.
func (s *keySource) read(ctx context.Context) error {
	s.mu.Lock()
	if s.flight == nil { // whoever comes while we read may share it
		s.flight = &flight{done: make(chan struct{})}
	}
	s.mu.Unlock()
	s.reads.Add(1)
	set, err := s.from.read(ctx, s.allowed)
	if err != nil && ctx.Err() == nil {
		s.failures.Add(1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.install(set)
		s.readAt = s.now()
		if set.Len() == 0 {
			err = errEmpty
		}
	} else if ctx.Err() == nil && (s.err == nil || s.err.Error() != err.Error()) {
		s.log.Warn("key set not read, trying again; the old one, if there is one, stays in use", "issuer", s.issuer, "err", err)
	}
	s.err = err
	close(s.flight.done)
	s.flight = nil
	return err
}

// install makes set the current one.
func (s *keySource) install(set *jws.KeySet) {
	old := s.set.Load()
	next := set.Reuse(old)
	if next == old {
		return
	}
	s.set.Store(next)
	if next.Len() == 0 {
		s.log.Error("the key set holds no key that can be used: until it does no token of the issuer is accepted", "issuer", s.issuer, "skipped", next.Skipped)
	} else {
		s.log.Info("key set read", "issuer", s.issuer, "kids", next.IDs(), "skipped", next.Skipped)
	}
	for _, note := range next.Notes {
		s.log.Warn("key set: "+note, "issuer", s.issuer)
	}
}

var errStopped = errors.New("the verifier was stopped")

func (s *keySource) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = false
	s.err = errStopped
	if s.flight != nil {
		close(s.flight.done)
		s.flight = nil
	}
}

// ready returns nil if tokens of the issuer can be verified.
func (s *keySource) ready() error {
	set := s.set.Load()
	if set == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		return &keysError{s.issuer, s.err}
	}
	if set.Len() == 0 {
		return &keysError{s.issuer, fmt.Errorf("%w (%d skipped)", errEmpty, set.Skipped)}
	}
	return nil
}
