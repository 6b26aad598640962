//go:build !race

package verifier_test

const raceEnabled = false

// restartChecks is how many lookups TestNoMissAcrossRestarts makes.
const restartChecks = 10_000_000
