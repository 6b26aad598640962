// Package leaks finds goroutines that a test program has left behind.
package leaks

import (
	"fmt"
	"os"
	"time"

	"go.uber.org/goleak"
)

// patience is how long what was stopped may take to end. goleak alone gives it half a
// second, which a busy machine needs for less.
const patience = time.Minute

// Main is the whole of a TestMain.
func Main(m goleak.TestingM) { os.Exit(Run(m)) }

// Run runs the tests and returns the program's exit code. If they have passed it waits
// until nothing that they started runs any more.
func Run(m goleak.TestingM) int {
	code := m.Run()
	if code != 0 {
		return code
	}
	if err := Find(); err != nil {
		fmt.Fprintf(os.Stderr, "the tests passed and left something behind: %v\n", err)
		return 1
	}
	return 0
}

// Find waits until no goroutine is left but those that the options ignore. Its error
// shows those that stay.
func Find(options ...goleak.Option) error { return find(patience, options...) }

// clock is nats-server's own: one goroutine for all stores of a process, which a store that opens while the last one closes can leave running. It
// holds nothing of a test.
const clock = "github.com/nats-io/nats-server/v2/server/ats.Register.func1"

func find(patience time.Duration, options ...goleak.Option) error {
	options = append(options, goleak.IgnoreAnyFunction(clock))
	for end := time.Now().Add(patience); ; {
		err := goleak.Find(options...)
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}
