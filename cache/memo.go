package cache

import (
	"fmt"
	"hash/maphash"
	"strings"

	"github.com/dgraph-io/ristretto/v2"
)

// MemoConfig configures a Memo.
type MemoConfig struct {
	// MaxBytes is about how many bytes of tokens and values are kept.
	// 0 means 64 MiB.
	MaxBytes int64
}

// Memo remembers the outcome of verifying a token, by its exact text. It may forget
// anything at any time, which costs one verification; it never takes one token for
// another: the hash only picks the place, the whole text decides. Put only what a full
// verification has accepted, and check on every hit what may have changed since: time,
// denylist, freshness, key set.
//
// All methods are safe for concurrent use. A nil Memo remembers nothing.
type Memo[V any] struct {
	c    *ristretto.Cache[uint64, *memory[V]]
	seed maphash.Seed
	gate gate // around every Get
	puts gate // around every Put

	forge func(string) uint64 // replaces the hash in tests of collisions; nil otherwise
}

type memory[V any] struct {
	raw string
	v   V
}

// memoOverhead is what one memory costs beside its text and value.
const memoOverhead = 256

// NewMemo makes an empty memo and starts ristretto's goroutines; Close ends them.
func NewMemo[V any](cfg MemoConfig) (*Memo[V], error) {
	if cfg.MaxBytes < 0 {
		return nil, fmt.Errorf("%w: MaxBytes is negative", ErrConfig)
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 64 << 20
	}
	c, err := ristretto.NewCache(&ristretto.Config[uint64, *memory[V]]{
		NumCounters:        max(1<<10, 10*cfg.MaxBytes/2048), // 10 for each token expected
		MaxCost:            cfg.MaxBytes,
		BufferItems:        64,
		IgnoreInternalCost: true,
	})
	if err != nil {
		return nil, fmt.Errorf("make memo: %w", err)
	}
	return &Memo[V]{c: c, seed: maphash.MakeSeed()}, nil
}

func (m *Memo[V]) hash(raw string) uint64 {
	if m.forge != nil {
		return m.forge(raw)
	}
	return maphash.String(m.seed, raw)
}

// Get returns what was put for exactly this text.
func (m *Memo[V]) Get(raw string) (v V, ok bool) {
	if m == nil {
		return v, false
	}
	h := m.hash(raw)
	if !m.gate.enter(h) {
		return v, false
	}
	var e *memory[V]
	if e, ok = m.c.Get(h); ok {
		if ok = e.raw == raw; ok {
			v = e.v
		}
	}
	m.gate.leave(h, ok)
	return v, ok
}

// Put remembers v for this text, of which it keeps a copy of its own. cost is the size
// of v in bytes; the text is counted by Put. It may be forgotten at once.
func (m *Memo[V]) Put(raw string, v V, cost int64) {
	if m == nil {
		return
	}
	h := m.hash(raw)
	if !m.puts.enter(h) {
		return
	}
	// A substring of a request header would keep the whole header alive.
	e := &memory[V]{raw: strings.Clone(raw), v: v}
	ok := m.c.Set(h, e, int64(len(raw))+max(cost, 0)+memoOverhead)
	m.puts.leave(h, ok)
}

// MemoStats are a memo's numbers at one moment.
type MemoStats struct {
	Hits, Misses uint64
	Puts         uint64 // handed to ristretto, which may still refuse them
	Dropped      uint64 // not taken because it was busy
	Bytes        int64  // text and values held, about
}

// Stats returns the current numbers.
func (m *Memo[V]) Stats() MemoStats {
	var st MemoStats
	if m == nil {
		return st
	}
	st.Hits, st.Misses = m.gate.counts()
	st.Puts, st.Dropped = m.puts.counts()
	st.Bytes = m.c.MaxCost() - m.c.RemainingCost()
	return st
}

// Close forgets everything and ends what NewMemo started. Calling it again is harmless.
func (m *Memo[V]) Close() {
	if m == nil || m.gate.shut.Swap(true) {
		return
	}
	m.puts.close()
	m.gate.close()
	m.c.Close()
}
