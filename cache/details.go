package cache

import (
	"math"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// detail names a statement: 16 bits of the key's second hash, then its sequence. One
// word, because ristretto keeps some 200 bytes around it as it is.
type detail uint64

const maxSequence = 1<<48 - 1

func newDetail(check uint32, seq uint64) detail {
	if seq > maxSequence {
		seq = 0
	}
	return detail(uint64(check)<<48 | seq)
}

func (d detail) sequence() uint64          { return uint64(d) & maxSequence }
func (d detail) belongs(check uint32) bool { return uint16(d>>48) == uint16(check) }

// ticket is the key of a detail: the entry's hashes and the part of the entry that the
// statement gave. A cutoff entry can owe its maxima to several statements.
type ticket struct {
	hash  uint64
	check uint32
	part  part
	scope Scope
}

// key is where ristretto keeps it. Two tickets with one key are told apart by the check.
func (t ticket) key() uint64 {
	return bits.RotateLeft64(t.hash^uint64(t.part)*0xd6e8feb86659fd93, int(t.part)*16)
}

// note is a change to a detail that a statement asks for.
type note struct {
	ticket
	seq    uint64
	until  uint32
	action action
}

type action uint8

const (
	replace action = iota // the statement gave the maximum
	newest                // it equals the maximum: the larger sequence is kept
	extend                // it is weaker, but makes the entry live longer
)

// details holds the sequences of the living statements in ristretto, under a discipline
// that makes a lossy cache keep them: one writer, one write per key and batch, wait,
// read back, and what will not stay goes to an exact map.
type details struct {
	exact  store // keeps everything
	budget store // keeps what fits, for whole scopes; nil: exact keeps those too
	gate   gate

	retried  atomic.Uint64
	pending  map[ticket]note // the writer's, cleared per batch
	order    []ticket        // the writer's
	overflow struct {
		n  atomic.Int64
		mu sync.RWMutex // guards m
		m  map[ticket]note
	}
}

func (ds *details) init(exact, budget store) {
	ds.exact, ds.budget = exact, budget
	ds.pending = make(map[ticket]note, batchSize)
	ds.overflow.m = make(map[ticket]note)
}

func (ds *details) storeFor(s Scope) store {
	if ds.budget != nil && s.whole() {
		return ds.budget
	}
	return ds.exact
}

func (ds *details) forgetful(s Scope) bool { return ds.budget != nil && s.whole() }

// get returns the sequence kept for a ticket. Safe beside everything, also close.
func (ds *details) get(t ticket) (seq uint64, ok bool) {
	if !ds.gate.enter(t.hash) {
		return 0, false
	}
	seq, ok = ds.read(t)
	ds.gate.leave(t.hash, ok)
	return seq, ok
}

func (ds *details) read(t ticket) (uint64, bool) {
	if ds.overflow.n.Load() > 0 {
		ds.overflow.mu.RLock()
		n, ok := ds.overflow.m[t]
		ds.overflow.mu.RUnlock()
		if ok {
			return n.seq, true
		}
	}
	if d, ok := ds.storeFor(t.scope).get(t.key()); ok && d.belongs(t.check) {
		return d.sequence(), true
	}
	return 0, false
}

const (
	attempts = 8  // rounds of set, wait, read back
	spins    = 64 // tries of one set while the write buffer is full
)

// record writes the notes of one batch and returns when each can be read back. Only one
// caller at a time. ttl tells how long a note must live at least.
func (ds *details) record(notes []note, ttl func(note) time.Duration) {
	clear(ds.pending)
	ds.order = ds.order[:0]
	for _, n := range notes {
		ds.fold(n)
	}
	todo := ds.order
	for try := 0; len(todo) > 0 && try < attempts; try++ {
		if try > 0 {
			ds.retried.Add(uint64(len(todo)))
		}
		budget := false
		for _, t := range todo {
			n := ds.pending[t]
			budget = budget || ds.forgetful(t.scope)
			ds.set(n, ttl(n))
		}
		ds.exact.wait()
		if budget {
			ds.budget.wait()
		}
		left := todo[:0]
		for _, t := range todo {
			if seq, ok := ds.read(t); (!ok || seq != ds.pending[t].seq) && !ds.forgetful(t.scope) {
				left = append(left, t)
			}
		}
		todo = left
	}
	for _, t := range todo {
		ds.spill(ds.pending[t])
	}
}

// fold merges a note with the earlier ones of the batch, or with what is stored.
func (ds *details) fold(n note) {
	if n.seq > maxSequence {
		n.seq = 0
	}
	if n.action != replace {
		cur, ok := ds.pending[n.ticket]
		if !ok {
			cur.seq, ok = ds.read(n.ticket)
		}
		if !ok && n.action == extend {
			if ds.forgetful(n.scope) {
				return
			}
			n.seq = 0 // unknown: the weaker statement must not take its place
		}
		if ok && (n.action == extend || cur.seq > n.seq) {
			n.seq = cur.seq
		}
	}
	if _, ok := ds.pending[n.ticket]; !ok {
		ds.order = append(ds.order, n.ticket)
	}
	ds.pending[n.ticket] = n
}

func (ds *details) set(n note, ttl time.Duration) {
	if ds.overflow.n.Load() > 0 {
		ds.overflow.mu.Lock()
		_, spilled := ds.overflow.m[n.ticket]
		if spilled {
			ds.overflow.m[n.ticket] = n
		}
		ds.overflow.mu.Unlock()
		if spilled {
			return
		}
	}
	// The store refuses to put a detail in the place of somebody else's; the read-back
	// then sends it to the overflow.
	s, key, d := ds.storeFor(n.scope), n.key(), newDetail(n.check, n.seq)
	for try := 0; !s.set(key, d, ttl) && try < spins && !ds.forgetful(n.scope); try++ {
		runtime.Gosched()
	}
}

func (ds *details) spill(n note) {
	ds.overflow.mu.Lock()
	defer ds.overflow.mu.Unlock()
	ds.overflow.m[n.ticket] = n
	ds.overflow.n.Store(int64(len(ds.overflow.m)))
}

// sweep drops what the overflow holds of entries that have expired a while ago: an entry
// may be extended while it is about to leave, and its detail with it.
func (ds *details) sweep(limit int64) {
	if limit == math.MinInt64 {
		return
	}
	limit -= int64(slack / time.Second)
	if ds.overflow.n.Load() == 0 {
		return
	}
	ds.overflow.mu.Lock()
	defer ds.overflow.mu.Unlock()
	for t, n := range ds.overflow.m {
		if expired(uint64(n.until), limit) {
			delete(ds.overflow.m, t)
		}
	}
	ds.overflow.n.Store(int64(len(ds.overflow.m)))
}

// close waits for the readers inside. The caller keeps writers out.
func (ds *details) close() {
	ds.gate.close()
	ds.exact.close()
	if ds.budget != nil {
		ds.budget.close()
	}
}
