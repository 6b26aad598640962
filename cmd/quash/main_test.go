package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes this test binary behave as quash when it is called by that name,
// so that scripts and tests drive the real program as processes of their own.
func TestMain(m *testing.M) {
	// The race detector lets each of the many short processes sleep for a second at
	// its end.
	if err := os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=10")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	testscript.Main(m, map[string]func(){"quash": main})
}
