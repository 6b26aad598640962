package leaks

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { Main(m) }

// What ends by itself after a while is no leak, what stays is one and is shown.
func TestFind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	go func() { <-time.After(2 * time.Second) }() // longer than goleak waits
	if err := Find(before); err != nil {
		t.Errorf("one that ends: %v", err)
	}
	stay := make(chan struct{})
	go func() { <-stay }()
	if err := find(0, before); err == nil || !strings.Contains(err.Error(), "TestFind") {
		t.Errorf("one that stays: got %v", err)
	}
	close(stay)
}

type passed int

func (p passed) Run() int { return int(p) }

func TestRunKeepsAFailure(t *testing.T) {
	if code := Run(passed(2)); code != 2 {
		t.Errorf("got %d, want 2", code)
	}
}
