//go:build !race

package cache_test

// checks is how many lookups the checker makes of a denylist that must not miss.
const checks = 12_000_000
