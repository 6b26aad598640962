package verifier_test

import (
	"testing"

	"github.com/quash-auth/quash/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }
