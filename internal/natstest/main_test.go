package natstest_test

import (
	"testing"

	"github.com/quash-auth/quash/internal/leaks"
)

// No goroutine outlives what started it: servers and connections are
// all gone at the end.
func TestMain(m *testing.M) { leaks.Main(m) }
