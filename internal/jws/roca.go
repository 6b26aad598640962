package jws

import "math/big"

// rocaMarks says for each small odd prime which remainders a modulus of the chips of CVE-2017-15361 can have: their primes are
// powers of 65537 modulo the product of the small primes, and so is the modulus.
var rocaMarks = func() map[uint64][]bool {
	marks := make(map[uint64][]bool)
	for p := uint64(3); p <= 167; p += 2 {
		if !big.NewInt(int64(p)).ProbablyPrime(0) {
			continue
		}
		seen := make([]bool, p)
		for power := uint64(1); !seen[power]; power = power * 65537 % p {
			seen[power] = true
		}
		marks[p] = seen
	}
	return marks
}()

// roca reports whether n is the modulus of a key that can be factored for little money. Another key passes for one with
// a probability below 2^-27.
func roca(n *big.Int) bool {
	var p, rest big.Int
	for prime, seen := range rocaMarks {
		if !seen[rest.Mod(n, p.SetUint64(prime)).Uint64()] {
			return false
		}
	}
	return true
}
