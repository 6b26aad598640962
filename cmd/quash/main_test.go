package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes this test binary behave as quash when it is called by that name,
// so that scripts and tests drive the real program as processes of their own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"quash": main})
}
