package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

func TestStatusTellsWhoDisagrees(t *testing.T) {
	t.Parallel()
	from := time.Now().Truncate(time.Minute)
	answer := func(name string, sequence, digest uint64, from time.Time) events.Answer {
		return events.Answer{Report: events.Report{Node: name, Synced: true, Sequence: sequence, Digest: digest, DigestFrom: from}}
	}
	good := []events.Answer{
		answer("a", 7, 1, from), answer("b", 7, 1, from),
		answer("behind", 6, 2, from), answer("another minute", 7, 3, from.Add(time.Minute)), answer("older version", 7, 0, time.Time{}),
	}
	if err := disagreement(good); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	err := disagreement(append(good, answer("lost", 7, 9, from)))
	if err == nil || !strings.Contains(err.Error(), "a and lost") {
		t.Errorf("got %v, want both names", err)
	}
}

// TestStatusOfNodesThatDisagree: they are asked again, and shown all the same.
func TestStatusOfNodesThatDisagree(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	nc := server.Connect(t)
	from := time.Now().Truncate(time.Minute)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	for i, name := range []string{"one", "two"} {
		r, err := events.NewResponder(events.ResponderConfig{Conn: nc, Node: name, WaitApplied: func(context.Context, events.Position) error { return nil },
			Report: func() events.Report {
				return events.Report{Synced: true, Sequence: 7, Digest: uint64(i), DigestFrom: from}
			}})
		if err != nil {
			t.Fatal(err)
		}
		go func() { done <- r.Run(ctx) }()
	}
	defer func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}()
	args := []string{"quash", "status", "--nats", server.URL(), "--expect", "one,two", "--quiet", "1s"}
	var stdout, stderr bytes.Buffer
	for limit := time.Now().Add(patience); ; {
		stdout.Reset()
		stderr.Reset()
		if code := execute(args, &stdout, &stderr); code == 0 {
			t.Fatalf("exit 0: %s", stdout.String())
		}
		if strings.Contains(stdout.String(), "one") && strings.Contains(stdout.String(), "two") || time.Now().After(limit) {
			break
		}
	}
	if !strings.Contains(stderr.String(), "have applied the same sequence and hold different statements") {
		t.Errorf("got %q, want that they disagree", stderr.String())
	}
}
