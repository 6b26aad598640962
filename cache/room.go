package cache

import (
	"sync"
	"sync/atomic"
	"time"
)

// lag is how long notes may wait for others, to be written together: ristretto costs little by the batch.
const lag = 100 * time.Millisecond

// room holds notes exactly, until ristretto has been seen to keep them: Apply need not
// wait for ristretto, and nothing is in neither place for a moment.
type room struct {
	n      atomic.Int64 // len(notes), for readers
	stayed atomic.Int64 // of them: those that stay
	later  *time.Timer  // writes what waits

	mu    sync.RWMutex // guards what follows
	notes map[ticket]note
	queue []ticket // to be written; some twice, some gone
	armed bool     // later is running
}

func (r *room) init(write func()) {
	r.notes = make(map[ticket]note)
	r.later = time.AfterFunc(time.Hour, write)
	r.later.Stop()
}

func (r *room) get(t ticket) (n note, ok bool) {
	if r.n.Load() == 0 {
		return n, false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	n, ok = r.notes[t]
	return n, ok
}

func (r *room) put(n note) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n.stays = r.notes[n.ticket].stays
	r.notes[n.ticket] = n
	r.n.Store(int64(len(r.notes)))
	if n.stays {
		return
	}
	r.queue = append(r.queue, n.ticket)
	if !r.armed {
		r.armed = true
		r.later.Reset(lag)
	}
}

func (r *room) waiting() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.queue)
}

// take appends at most a batch of what waits, each ticket once. They stay until release.
func (r *room) take(batch []note) []note {
	r.mu.Lock()
	defer r.mu.Unlock()
	done := 0
	for ; done < len(r.queue) && len(batch) < batchSize; done++ {
		n, ok := r.notes[r.queue[done]]
		if !ok || n.stays || n.taken {
			continue
		}
		n.taken = true
		r.notes[n.ticket] = n
		batch = append(batch, n)
	}
	r.queue = append(r.queue[:0], r.queue[done:]...)
	if len(r.queue) == 0 {
		r.armed = false
		r.later.Stop()
	}
	return batch
}

// release lets a batch go, except what the store did not keep, and what has changed since
// it was taken, which waits again.
func (r *room) release(batch, lost []note) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range lost {
		if r.notes[n.ticket] == n {
			n.stays = true
			r.notes[n.ticket] = n
			r.stayed.Add(1)
		}
	}
	for _, n := range batch {
		if r.notes[n.ticket] == n {
			delete(r.notes, n.ticket)
		}
	}
	r.n.Store(int64(len(r.notes)))
}

func (r *room) sweep(limit int64) {
	if r.n.Load() == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for t, n := range r.notes {
		if n.stays && expired(uint64(n.until), limit) {
			delete(r.notes, t)
			r.stayed.Add(-1)
		}
	}
	r.n.Store(int64(len(r.notes)))
}

func (r *room) close() { r.later.Stop() }
