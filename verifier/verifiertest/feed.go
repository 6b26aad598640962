package verifiertest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quash-auth/quash/events"
)

// farBehind is the staleness of a feed after SetStale(true): beyond every bound somebody would configure.
const farBehind = 10_000 * time.Hour

// feed is a verifier.Feed in memory: always up to date unless it is told to be stale.
type feed struct {
	now     func() time.Time
	created time.Time
	layout  events.Layout
	kick    chan struct{} // one place: there is something to apply

	mu      sync.Mutex // guards what follows
	log     []events.Event
	applied uint64        // everything up to it is in force
	moved   chan struct{} // closed and replaced when applied moves
	lastErr error

	running, stale atomic.Bool
}

func newFeed(now func() time.Time, retention events.Retention) *feed {
	return &feed{
		now: now, created: now(), layout: events.Layout{Replicas: 1, Retention: retention},
		kick: make(chan struct{}, 1), moved: make(chan struct{}),
	}
}

// Run hands every statement to apply until ctx ends.
func (f *feed) Run(ctx context.Context, apply events.Apply) error {
	f.mu.Lock()
	f.applied = 0
	f.mu.Unlock()
	f.running.Store(true)
	for {
		f.mu.Lock()
		batch := f.log[f.applied:]
		f.mu.Unlock()
		if len(batch) > 0 {
			err := apply(ctx, batch)
			f.mu.Lock()
			if f.lastErr = err; err == nil {
				f.applied += uint64(len(batch))
			}
			close(f.moved)
			f.moved = make(chan struct{})
			f.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-f.kick:
		}
	}
}

// publish adds a statement and returns its sequence.
func (f *feed) publish(r events.Revocation) uint64 {
	f.mu.Lock()
	seq := uint64(len(f.log)) + 1
	f.log = append(f.log, events.Event{Revocation: r, Sequence: seq, Time: f.now()})
	f.mu.Unlock()
	select {
	case f.kick <- struct{}{}:
	default:
	}
	return seq
}

// WaitApplied returns when the statement with this sequence is in force, or could not be applied.
func (f *feed) WaitApplied(ctx context.Context, at events.Position) error {
	for {
		f.mu.Lock()
		applied, moved, err := f.applied, f.moved, f.lastErr
		f.mu.Unlock()
		switch {
		case applied >= at.Sequence:
			return nil
		case err != nil:
			return fmt.Errorf("apply the statement: %w", err)
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Freshness is the view's age: nothing, or far too much.
func (f *feed) Freshness(now time.Time) events.Freshness {
	switch {
	case !f.running.Load():
		return events.Freshness{}
	case f.stale.Load():
		return events.Freshness{Synced: true, AsOf: now.Add(-farBehind), Staleness: farBehind}
	default:
		return events.Freshness{Synced: true, AsOf: now}
	}
}

// Status is what a real subscriber would show.
func (f *feed) Status() events.Status {
	fresh := f.Freshness(f.now())
	f.mu.Lock()
	defer f.mu.Unlock()
	s := events.Status{
		Connected: !f.stale.Load(), Synced: fresh.Synced, AsOf: fresh.AsOf, Sequence: f.applied, Head: uint64(len(f.log)),
		Created: f.created, Layout: f.layout, Events: f.applied,
	}
	if f.lastErr != nil {
		s.LastError = f.lastErr.Error()
	}
	return s
}
