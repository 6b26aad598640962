package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"
)

// canary is a process that wants to run every few milliseconds and does nothing else. How
// late it runs is what the machine itself takes from everybody: the checker gives
// healing so much longer, and says so.
type canary struct {
	cmd *exec.Cmd

	mu     sync.Mutex // guards what follows
	stalls []stall
}

// stall is time in which the canary should have run and did not.
type stall struct {
	end  time.Time
	late time.Duration
}

const (
	canaryEvery = 5 * time.Millisecond
	canaryLate  = 50 * time.Millisecond // what a machine with something to do may take
)

// runCanary is the process: a line for each stall.
func runCanary(out io.Writer) error {
	for last := time.Now(); ; {
		time.Sleep(canaryEvery)
		now := time.Now()
		if late := now.Sub(last) - canaryEvery; late > canaryLate {
			if _, err := fmt.Fprintf(out, "%d %d\n", now.UnixNano(), late); err != nil {
				return err // the driver has gone
			}
		}
		last = now
	}
}

func startCanary(self string) (*canary, error) {
	c := &canary{cmd: exec.Command(self, "canary")}
	c.cmd.Stderr = os.Stderr
	orphan(c.cmd)
	lines, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the canary: %w", err)
	}
	go func() { // ends with the process
		for s := bufio.NewScanner(lines); s.Scan(); {
			var at, late int64
			if _, err := fmt.Sscan(s.Text(), &at, &late); err == nil {
				c.mu.Lock()
				c.stalls = append(c.stalls, stall{time.Unix(0, at), time.Duration(late)})
				c.mu.Unlock()
			}
		}
	}()
	return c, nil
}

func (c *canary) close() {
	_ = c.cmd.Process.Kill() // gone already is fine
	_ = c.cmd.Wait()
}

// since is how long altogether, and at the longest at once, the machine has kept
// the canary from running after an instant.
func (c *canary) since(t time.Time) (sum, longest time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.stalls) - 1; i >= 0 && c.stalls[i].end.After(t); i-- {
		late := min(c.stalls[i].late, c.stalls[i].end.Sub(t))
		sum, longest = sum+late, max(longest, late)
	}
	return sum, longest
}

// patient ends once the patience has passed, not counting what the machine took.
func (w *world) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	return w.patientWith(ctx, "")
}

// patientWith is the same for somebody of whom less may be expected.
func (w *world) patientWith(ctx context.Context, name string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	began, patience := time.Now(), longPatience
	if !w.whole {
		patience = slowPatience
	}
	if slices.Contains(w.hopeless, name) {
		patience = shortPatience
	}
	w.tasks.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if sum, _ := w.canary.since(began); time.Since(began)-sum > patience {
				cancel()
				return
			}
		}
	})
	return ctx, cancel
}
