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
	held
}

// held is a detail that is not in ristretto yet.
type held struct {
	seq    uint64
	until  uint32
	action action
	stays  bool // ristretto would not keep it
	taken  bool // it is being written
}

type action uint8

const (
	leave   action = iota
	replace        // the statement gave the maximum
	newest         // it equals the maximum: the larger sequence is kept
	extend         // it is weaker or says nothing, but makes the entry live longer
)

// details holds the sequences of the living statements in ristretto, under a discipline
// that makes a lossy cache keep them: they wait in an exact map, from which one writer
// takes them in batches, one write per key, waits, reads back, and only then lets them go
// from the map. What will not stay in ristretto stays there.
type details struct {
	store   store
	forgets bool // the store keeps what fits into its budget, and nobody minds
	gate    gate
	room    room

	retried atomic.Uint64
	writing sync.Mutex                      // one writer to the stores; guards the next three
	batch   []note                          // what is being written
	left    []note                          // of the batch: what is not in its store yet
	ttls    func() func(note) time.Duration // how long a note must live at least
}

func (ds *details) init(st store, forgets bool, ttls func() func(note) time.Duration) {
	ds.store, ds.forgets, ds.ttls = st, forgets, ttls
	most := roomSize
	if forgets {
		most = roomSizeBudget
	}
	ds.room.init(most, ds.writeLater)
}

// get returns the sequence kept for a ticket. Safe beside everything, also close.
func (ds *details) get(t ticket) (seq uint64, ok bool) {
	if !ds.gate.enter(t.hash) {
		return 0, false
	}
	seq, ok = ds.read(t)
	ds.gate.leave(t.hash, ok)
	return seq, ok
}

// read asks the room first: what leaves it is in the store.
func (ds *details) read(t ticket) (uint64, bool) {
	if n, ok := ds.room.get(t); ok {
		return n.seq, true
	}
	return ds.stored(t)
}

func (ds *details) stored(t ticket) (uint64, bool) {
	if d, ok := ds.store.get(t.key()); ok && d.belongs(t.check) {
		return d.sequence(), true
	}
	return 0, false
}

// note takes one note. Only one caller at a time.
func (ds *details) note(n note) {
	if n.seq > maxSequence {
		n.seq = 0
	}
	if n.action != replace {
		seq, ok := ds.read(n.ticket)
		if !ok && n.action == extend {
			if ds.forgets {
				return
			}
			n.seq = 0 // unknown: the weaker statement must not take its place
		}
		if ok && (n.action == extend || seq > n.seq) {
			n.seq = seq
		}
	}
	ds.room.put(n)
}

const (
	attempts = 8  // rounds of set, wait, read back
	spins    = 64 // tries of one set while the write buffer is full
)

// settle leaves no more to be written later than the room is for.
func (ds *details) settle() {
	for ds.room.full() && ds.writeBatch() {
	}
}

// writeLater writes what waits, unless a lot has just come: then there is something more
// urgent to do than to remember names.
func (ds *details) writeLater() {
	if !ds.room.postpone() {
		ds.writeAll()
	}
}

func (ds *details) writeAll() {
	for ds.writeBatch() {
	}
}

// writeBatch writes some of what waits; false means that nothing does.
func (ds *details) writeBatch() bool {
	ds.writing.Lock()
	defer ds.writing.Unlock()
	if ds.gate.shut.Load() {
		return false
	}
	if ds.batch = ds.room.take(ds.batch[:0]); len(ds.batch) == 0 {
		return false
	}
	ds.write(ds.batch)
	return true
}

// write returns when each note of a batch can be read back, or is to stay in the room.
func (ds *details) write(batch []note) {
	ttl := ds.ttls()
	ds.left = append(ds.left[:0], batch...)
	todo := ds.left
	for try := 0; len(todo) > 0 && try < attempts; try++ {
		if try > 0 {
			ds.retried.Add(uint64(len(todo)))
		}
		for _, n := range todo {
			ds.set(n, ttl(n))
		}
		ds.store.wait()
		left := todo[:0]
		for _, n := range todo {
			if seq, ok := ds.stored(n.ticket); (!ok || seq != n.seq) && !ds.forgets {
				left = append(left, n)
			}
		}
		todo = left
	}
	ds.room.release(batch, todo)
}

func (ds *details) set(n note, ttl time.Duration) {
	// The store refuses to put a detail in the place of somebody else's; the read-back
	// then leaves it in the room.
	key, d := n.key(), newDetail(n.check, n.seq)
	for try := 0; !ds.store.set(key, d, ttl) && try < spins && !ds.forgets; try++ {
		runtime.Gosched()
	}
}

// sweep drops what stays in the room of entries that have expired a while ago: an entry
// may be extended while it is about to leave, and its detail with it.
func (ds *details) sweep(limit int64) {
	if limit != math.MinInt64 {
		ds.room.sweep(limit - int64(slack/time.Second))
	}
}

// close waits for the readers inside. The caller keeps writers out.
func (ds *details) close() {
	ds.gate.close()
	ds.room.close()
	ds.writing.Lock() // the room may be being written
	defer ds.writing.Unlock()
	ds.store.close()
}
