package events

import (
	"context"
	"time"
)

// Event is one revocation as the stream stored it.
type Event struct {
	Revocation Revocation
	Sequence   uint64    // stream sequence
	Time       time.Time // the server's timestamp of storage
	// Kept is for how long after Time the server was told to keep it, whatever Revocation.Until says; the
	// stream's own bound counts as well. Zero if that is not known.
	Kept time.Duration
	// Rewinds is Status.Rewinds when the event was read: an abandoned reading may still
	// deliver what was in the stream before, after the new one is counted.
	Rewinds uint64
}

// Position is a place in a stream. A sequence means something only together
// with the stream it counts in: one that was recreated counts again from 1.
type Position struct {
	// Stream is when the stream was created. Zero: whichever is followed.
	Stream   time.Time
	Sequence uint64
}

// Apply takes a batch of statements into the follower's state. When it returns
// nil every statement of the batch must be in force. An error keeps the
// sequence from advancing: the same statements are read again, with back-off,
// until Apply accepts them.
//
// A subscriber never calls Apply concurrently with itself. Statements may
// arrive more than once and in any order; they only join, so that is harmless.
// The batch must not be kept after Apply returns.
type Apply func(ctx context.Context, batch []Event) error

// Freshness says how old a follower's view of the stream may be.
type Freshness struct {
	// Synced is true once everything the stream held at the start was applied
	// and a message proved it. It never goes back: what happens later shows as
	// growing Staleness.
	Synced bool
	// AsOf is the newest instant (server time) at which the view is known to
	// have been complete. Zero before the first sync.
	AsOf time.Time
	// Staleness is the time since AsOf, never less than the truth as far as
	// this node can know. Meaningless while Synced is false.
	Staleness time.Duration
}

// Status is a snapshot of a subscriber, for people and metrics. Decisions are
// made with Freshness.
type Status struct {
	Connected bool      // the NATS connection is up; proves nothing about freshness
	Synced    bool      // see Freshness
	AsOf      time.Time // see Freshness
	Sequence  uint64    // everything alive up to this stream sequence was applied
	Head      uint64    // the highest stream sequence seen
	Created   time.Time // when the stream that is followed was created
	Layout    Layout    // what the stream promises, once it was read

	Events      uint64 // statements applied, repetitions included
	Beacons     uint64 // beacons received live
	BeaconsSent uint64 // beacons this node published because nobody else did
	CatchUps    uint64 // times the stored part was read
	SlotWaits   uint64 // of them, those that had to wait for a reading slot
	Gaps        uint64 // live sequences that jumped
	Rewinds     uint64 // sequences that went back: stream recreated, wiped or restored
	Reconnects  uint64 // connections re-established, whoever asked for it
	Forced      uint64 // reconnects this subscriber forced because the link was deaf
	Undecodable uint64 // events this version cannot read and the stream may still hold
	Foreign     uint64 // unreadable messages that no publisher of ours can have sent
	Pending     int    // live messages received and not yet applied

	// ClockBehind is by how much this node's clock is provably behind the
	// server's: messages cannot arrive before they were stored.
	ClockBehind time.Duration
	// LastError is the newest reason why following does not make progress;
	// empty when it does.
	LastError string
}
