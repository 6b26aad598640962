//go:build race

package verifier_test

const raceEnabled = true

// restartChecks is how many lookups TestNoMissAcrossRestarts makes.
const restartChecks = 500_000
