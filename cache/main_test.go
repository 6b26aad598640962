package cache_test

import (
	"testing"
	"time"

	"github.com/quash-auth/quash/internal/leaks"
)

// patience is a limit for broken runs, not something a healthy run waits for.
const patience = 3 * time.Minute

func TestMain(m *testing.M) { leaks.Main(m) }
