package cache

import (
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Config configures a Denylist. The zero value is a working one.
type Config struct {
	// MaxEntries is the number of keys held before Apply answers ErrFull.
	// 0 means 10,000,000. At 10 million the index takes about 300 MB.
	MaxEntries int

	// DetailBytes is about how many bytes may be spent on remembering which statement
	// it was; beyond it the sequence of some is forgotten, while every verdict, cutoff and
	// generation stays. 0 keeps every detail, some 200 bytes each.
	DetailBytes int64

	// Grace is how long an entry stays after its Until. 0 means 2 minutes.
	Grace time.Duration

	// Now is the node's clock. nil means time.Now; steps of the wall clock after New
	// are ignored.
	Now func() time.Time

	// AsOf is the newest server time known, the zero time while none is. An entry leaves
	// only when Until+Grace has passed by both clocks. It must be safe for concurrent
	// use. nil means that Now alone decides.
	AsOf func() time.Time

	// SweepInterval is how long Run takes for one pass over all entries. 0 means 10 s.
	SweepInterval time.Duration
}

// Denylist holds every living statement in memory and answers which tokens they cover.
// All methods are safe for concurrent use, on a nil Denylist too: it denies every token.
// The owner calls Run to let expired entries leave, and Close when done.
type Denylist struct {
	id      uint64
	hash    hasher
	closed  atomic.Bool
	index   [scopes]index
	details details

	clock    clock
	max      int64
	grace    int64 // seconds
	interval time.Duration

	mu       sync.Mutex // one writer
	sums     sums
	sweeping sync.Mutex // one sweep at a time; never taken together with mu

	counters counters
}

// New makes an empty denylist. It starts the goroutines of the ristretto it holds;
// Close ends them.
func New(cfg Config) (*Denylist, error) {
	st, err := newRistretto(max(cfg.DetailBytes, 0))
	if err != nil {
		return nil, err
	}
	return newDenylist(cfg, st, cfg.DetailBytes > 0)
}

// newDenylist takes over the store and closes it if it fails.
func newDenylist(cfg Config, st store, forgets bool) (*Denylist, error) {
	d := &Denylist{
		hash:     newHasher(),
		clock:    newClock(cfg.Now, cfg.AsOf),
		max:      10_000_000,
		grace:    120,
		interval: 10 * time.Second,
	}
	d.id = maphash.String(d.hash.issuer[0], "") | 1 // random, never the zero Ref's
	d.details.init(st, forgets, d.lifetimes)
	for s := Token; s <= Issuer; s++ {
		d.index[s].init(!s.whole())
	}
	if cfg.MaxEntries > 0 {
		d.max = int64(cfg.MaxEntries)
	}
	if cfg.Grace > 0 {
		d.grace = int64((cfg.Grace + time.Second - 1) / time.Second)
	}
	if cfg.SweepInterval > 0 {
		d.interval = cfg.SweepInterval
	}
	if err := cfg.check(); err != nil {
		d.details.close()
		return nil, err
	}
	return d, nil
}

func (cfg *Config) check() error {
	switch {
	case cfg.MaxEntries < 0:
		return fmt.Errorf("%w: MaxEntries is negative", ErrConfig)
	case cfg.DetailBytes < 0:
		return fmt.Errorf("%w: DetailBytes is negative", ErrConfig)
	case cfg.Grace < 0:
		return fmt.Errorf("%w: Grace is negative", ErrConfig)
	case cfg.SweepInterval < 0:
		return fmt.Errorf("%w: SweepInterval is negative", ErrConfig)
	case cfg.SweepInterval > 0 && cfg.SweepInterval < time.Millisecond:
		return fmt.Errorf("%w: SweepInterval is below a millisecond", ErrConfig)
	}
	return nil
}

func (d *Denylist) entries() int64 {
	var n int64
	for s := Token; s <= Issuer; s++ {
		n += d.index[s].count.Load()
	}
	return n
}

// Lookup returns what is held about one key. It serves explanations, not verdicts.
func (d *Denylist) Lookup(scope Scope, issuer, key string) (Entry, bool) {
	if d == nil || d.closed.Load() || !scope.known() {
		return Entry{}, false
	}
	h := d.hash.first(scope, d.hash.issuerHash(issuer), issuer, key)
	second := d.hash.second(scope, issuer, key)
	t := d.index[scope].table(h)
	if t == nil {
		return Entry{}, false
	}
	i := t.find(h, second)
	if i < 0 {
		return Entry{}, false
	}
	e := Entry{Until: int64(uint32(t.slots[i].meta.Load()))}
	newest := func(p part) {
		seq, _ := d.details.get(ticket{hash: h, check: second, part: p, scope: scope})
		e.Sequence = max(e.Sequence, seq)
	}
	if t.pins == nil {
		newest(partWhole)
		return e, true
	}
	c := t.cutoff(i)
	if c.before != none {
		e.Before = c.before
		newest(partBefore)
	}
	if c.gen != 0 {
		e.Gen, e.GenBefore = c.gen, c.genBefore
		newest(partGen)
		newest(partGenBefore)
	}
	return e, true
}

// Close denies every token from now on, waits for running calls and frees what New
// started. It returns nil; calling it again is harmless.
func (d *Denylist) Close() error {
	if d == nil {
		return nil
	}
	d.closed.Store(true) // before anything goes away: Check denies first
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.details.gate.shut.Load() {
		d.details.close()
	}
	return nil
}
