package cache

import (
	"hash/maphash"
	"math/bits"
)

// hasher turns (scope, issuer, key) into two independent hashes. The seeds are random
// per denylist, so that nobody outside can choose keys that collide. Issuer and key are
// hashed apart and then mixed, so ("a","bc") and ("ab","c") have nothing in common.
type hasher struct {
	issuer [2]maphash.Seed
	key    [scopes][2]maphash.Seed
	whole  uint64 // of the empty key of scope issuer

	// forge replaces both hashes in tests of collisions; nil otherwise.
	forge func(s Scope, issuer, key string) (uint64, uint64, bool)
}

func newHasher() hasher {
	var h hasher
	for i := range h.issuer {
		h.issuer[i] = maphash.MakeSeed()
	}
	for s := range h.key {
		for i := range h.key[s] {
			h.key[s][i] = maphash.MakeSeed()
		}
	}
	h.whole = maphash.String(h.key[Issuer][0], "")
	return h
}

// first is the hash that places an entry. issuerHash is the issuer's own first hash.
func (h *hasher) first(s Scope, issuerHash uint64, issuer, key string) uint64 {
	if h.forge != nil {
		if a, _, ok := h.forge(s, issuer, key); ok {
			return a
		}
	}
	return mix(issuerHash, maphash.String(h.key[s][0], key))
}

// second tells entries with equal first hashes apart. It is only needed on a hit.
func (h *hasher) second(s Scope, issuer, key string) uint32 {
	if h.forge != nil {
		if _, b, ok := h.forge(s, issuer, key); ok {
			return uint32(b)
		}
	}
	return uint32(mix(maphash.String(h.issuer[1], issuer), maphash.String(h.key[s][1], key)))
}

func (h *hasher) issuerHash(issuer string) uint64 { return maphash.String(h.issuer[0], issuer) }

// mix folds the 128-bit product of two hashes; the constants keep a zero from winning.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^0x9e3779b97f4a7c15, b^0xe7037ed1a0b428db)
	return hi ^ lo
}
