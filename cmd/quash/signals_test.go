package main

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/oklog/run"
)

// TestSignals_beforeTheGroupRuns: an actor may say that it runs before the one for signals does; whoever then stops the program must not kill
// it. Not parallel: all tests get the signal.
func TestSignals_beforeTheGroupRuns(t *testing.T) {
	guard := make(chan os.Signal, 1) // this process outlives it in any case
	signal.Notify(guard, syscall.SIGTERM)
	defer signal.Stop(guard)
	var g run.Group
	addSignals(&g)
	over := make(chan struct{})
	g.Add(func() error {
		select {
		case <-over:
			return nil
		case <-time.After(patience):
			return errors.New("the signal was lost")
		}
	}, func(error) { close(over) })
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-guard
	if err := g.Run(); !errors.Is(err, run.ErrSignal) {
		t.Errorf("got %v, want the signal", err)
	}
	if err := runGroup(&run.Group{}); err != nil {
		t.Errorf("no actors: %v", err)
	}
}
