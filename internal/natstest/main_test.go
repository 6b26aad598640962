package natstest_test

import (
	"testing"

	"go.uber.org/goleak"
)

// No goroutine outlives what started it: servers and connections are
// all gone at the end.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
