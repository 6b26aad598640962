package main

import (
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
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
