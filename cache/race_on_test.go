//go:build race

package cache_test

// checks is smaller under the race detector, which slows every lookup down.
const checks = 1_200_000
