package issuer

import (
	"hash/maphash"
	"sync"
	"time"
)

// addresses counts wrong passwords by the caller's address, whatever the account, in this replica's memory: it slows those who
// try one password on many accounts, which no account's counter notices. It has a fixed size, as has what one
// caller can do to it: emptying a counter costs a burst of wrong passwords.
type addresses struct {
	pace pace
	now  func() time.Time
	seed maphash.Seed // so that nobody can choose addresses that share a counter

	mu    sync.Mutex // guards what follows
	slots []tokens   // At 0: never used
}

const addressSlots = 1 << 16 // 1 MiB

func newAddresses(l pace, now func() time.Time) *addresses {
	return &addresses{pace: l, now: now, seed: maphash.MakeSeed(), slots: make([]tokens, addressSlots)}
}

// take n tokens, or give them if n is negative.
func (a *addresses) take(address string, n float64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	v := &a.slots[maphash.String(a.seed, address)%addressSlots]
	if v.At == 0 {
		*v = tokens{a.pace.burst, a.now().UnixMilli()}
	}
	return a.pace.take(v, n, a.now())
}
