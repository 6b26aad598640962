package cache

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lag is how long notes may wait for others, to be written together: ristretto costs
	// little by the batch. Half of it is random: nodes of one machine hear of a statement
	// in the same millisecond and need not write in the same one.
	lag = time.Second

	// roomSize is how many may wait, at some 65 bytes; beyond it Apply writes before it
	// returns. With a budget for details they are not worth so much.
	roomSize       = 1 << 20
	roomSizeBudget = 16 * batchSize
)

// room holds notes exactly, until ristretto has been seen to keep them: Apply need not
// wait for ristretto, and nothing is in neither place for a moment.
type room struct {
	n      atomic.Int64   // len(notes), for readers
	stayed atomic.Int64   // of them: those that stay
	later  *time.Timer    // writes what waits
	firing sync.WaitGroup // the timer, from arm until it has written
	most   int

	mu      sync.RWMutex // guards what follows
	notes   map[ticket]held
	queue   []ticket // to be written, from head on; some twice, some gone
	head    int
	arrived int  // since the timer last looked
	armed   bool // the timer is running
	closed  bool
}

func (r *room) init(most int, write func()) {
	r.most, r.notes = most, make(map[ticket]held)
	r.later = time.AfterFunc(time.Hour, func() {
		defer r.firing.Done()
		write()
	})
	r.later.Stop()
}

// arm sets the timer. The caller holds the room.
func (r *room) arm() {
	if r.closed {
		return
	}
	r.armed = true
	if !r.later.Reset(lag/2 + rand.N(lag/2)) {
		r.firing.Add(1)
	}
}

// disarm stops the timer unless it is writing. The caller holds the room.
func (r *room) disarm() {
	r.armed = false
	if r.later.Stop() {
		r.firing.Done()
	}
}

func (r *room) get(t ticket) (h held, ok bool) {
	if r.n.Load() == 0 {
		return h, false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	h, ok = r.notes[t]
	return h, ok
}

func (r *room) put(n note) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n.stays = r.notes[n.ticket].stays
	r.notes[n.ticket] = n.held
	r.n.Store(int64(len(r.notes)))
	if n.stays {
		return
	}
	r.arrived++
	r.queue = append(r.queue, n.ticket)
	if !r.armed {
		r.arm()
	}
}

func (r *room) full() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.queue)-r.head >= r.most
}

// postpone sets the timer again if more than a batch has come since it was set.
func (r *room) postpone() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	busy := r.arrived > batchSize
	r.arrived = 0
	if busy {
		r.arm()
	}
	return busy
}

// take appends at most a batch of what waits, each ticket once. They stay until release.
func (r *room) take(batch []note) []note {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ; r.head < len(r.queue) && len(batch) < batchSize; r.head++ {
		t := r.queue[r.head]
		h, ok := r.notes[t]
		if !ok || h.stays || h.taken {
			continue
		}
		h.taken = true
		r.notes[t] = h
		batch = append(batch, note{t, h})
	}
	switch {
	case r.head == len(r.queue):
		r.forget()
	case r.head > len(r.queue)/2:
		r.queue = r.queue[:copy(r.queue, r.queue[r.head:])]
		r.head = 0
	}
	return batch
}

// forget ends a queue that is empty, and gives back the memory of a long one.
func (r *room) forget() {
	r.queue, r.head = r.queue[:0], 0
	if cap(r.queue) > 4*batchSize {
		r.queue = nil
	}
	r.disarm()
}

// release lets a batch go, except what the store did not keep, and what has changed since
// it was taken, which waits again.
func (r *room) release(batch, lost []note) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range lost {
		if r.notes[n.ticket] == n.held {
			n.stays = true
			r.notes[n.ticket] = n.held
			r.stayed.Add(1)
		}
	}
	for _, n := range batch {
		if r.notes[n.ticket] == n.held {
			delete(r.notes, n.ticket)
		}
	}
	if len(r.notes) == 0 {
		r.notes = make(map[ticket]held) // a map keeps the memory of what it once held
	}
	r.n.Store(int64(len(r.notes)))
}

func (r *room) sweep(limit int64) {
	if r.stayed.Load() == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for t, h := range r.notes {
		if h.stays && expired(uint64(h.until), limit) {
			delete(r.notes, t)
			r.stayed.Add(-1)
		}
	}
	r.n.Store(int64(len(r.notes)))
}

// close waits for the timer if it is writing.
func (r *room) close() {
	r.mu.Lock()
	r.closed = true
	r.disarm()
	r.mu.Unlock()
	r.firing.Wait()
}
