package cache

import "time"

// Store is the interface behind details, for fakes that lose things.
type Store interface {
	Set(key, detail uint64, ttl time.Duration) bool
	Get(key uint64) (uint64, bool)
	Wait()
	Close()
}

type foreignStore struct{ s Store }

func (f foreignStore) set(key uint64, d detail, ttl time.Duration) bool {
	return f.s.Set(key, uint64(d), ttl)
}

func (f foreignStore) get(key uint64) (detail, bool) {
	d, ok := f.s.Get(key)
	return detail(d), ok
}
func (f foreignStore) wait()  { f.s.Wait() }
func (f foreignStore) close() { f.s.Close() }

// NewWithStore makes a denylist whose details are in s.
func NewWithStore(cfg Config, s Store) (*Denylist, error) {
	return newDenylist(cfg, foreignStore{s}, false)
}

// Forge makes f choose both hashes of the keys for which it returns true. It must be
// called before anything else.
func (d *Denylist) Forge(f func(s Scope, issuer, key string) (uint64, uint64, bool)) {
	d.hash.forge = f
}

// Hash returns the first hash of a key.
func (d *Denylist) Hash(s Scope, issuer, key string) uint64 {
	return d.hash.first(s, d.hash.issuerHash(issuer), issuer, key)
}

// SweepStep is one step of Run.
func (d *Denylist) SweepStep(n int) int { return d.sweepStep(n, false) }

// Steps is the number of steps in one pass of Run.
const Steps = shardCount

// RecordBytes is the size counted for one detail against DetailBytes.
const RecordBytes = recordBytes

// Settle writes the details that wait for ristretto now.
func (d *Denylist) Settle() { d.details.writeAll() }

// Waiting is how many details are held outside ristretto.
func (d *Denylist) Waiting() int { return int(d.details.room.n.Load()) }

// ClockUnix is what the denylist takes for the time.
func (d *Denylist) ClockUnix() int64 { return d.clock.now().Unix() }

// LockWriters takes every lock a writer takes and returns what releases them.
func (d *Denylist) LockWriters() func() {
	d.mu.Lock()
	d.sweeping.Lock()
	for s := range d.index {
		for i := range d.index[s].shards {
			d.index[s].shards[i].mu.Lock()
		}
	}
	return func() {
		for s := range d.index {
			for i := range d.index[s].shards {
				d.index[s].shards[i].mu.Unlock()
			}
		}
		d.sweeping.Unlock()
		d.mu.Unlock()
	}
}

// NewRistrettoStore is the store that New uses, for tests that wrap it.
func NewRistrettoStore(budget int64) (Store, error) {
	s, err := newRistretto(budget)
	return ownStore{s}, err
}

type ownStore struct{ s *ristrettoStore }

func (o ownStore) Set(key, d uint64, ttl time.Duration) bool { return o.s.set(key, detail(d), ttl) }
func (o ownStore) Get(key uint64) (uint64, bool) {
	d, ok := o.s.get(key)
	return uint64(d), ok
}
func (o ownStore) Wait()  { o.s.wait() }
func (o ownStore) Close() { o.s.close() }

// RefWithGen and GenOf let a control that is no Denylist carry a number in a Ref.
func RefWithGen(gen uint64) Ref { return Ref{gen: gen} }

// GenOf returns the number.
func GenOf(r *Ref) uint64 { return r.gen }

// ForgeHash makes f choose the hash of every text. It must be called before anything else.
func (m *Memo[V]) ForgeHash(f func(string) uint64) { m.forge = f }

// FireTimer does what the timer of the room does.
func (d *Denylist) FireTimer() { d.details.writeLater() }

// TimerSet reports whether it will fire, and stops it.
func (d *Denylist) TimerSet() bool { return d.details.room.later.Stop() }
