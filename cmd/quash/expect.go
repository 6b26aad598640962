package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/quash-auth/quash/events"
)

// expectFlag names nodes that are known to exist, so that one which is too slow or frozen is missed.
type expectFlag struct {
	Expect []string `placeholder:"NAME,..." help:"Nodes that must answer too, separated by commas, by their names in quash status: one that does not is named. Name all: others are counted for 150 ms only. To revoke or end it needs --wait."`
}

func (f expectFlag) check() error {
	for _, name := range f.Expect {
		if strings.TrimSpace(name) != name || name == "" || len(name) > events.MaxKey {
			return usagef("--expect", "%s is not the name of a node", printable(name))
		}
	}
	return nil
}

// needs refuses a command line with --expect that has nobody asked. In the environment it may be meant for quash status.
func (f expectFlag) needs(wait time.Duration, args []string) error {
	if wait == 0 && slices.ContainsFunc(args, func(a string) bool { return a == "--expect" || strings.HasPrefix(a, "--expect=") }) {
		return usagef("--expect", "needs --wait, for example --wait 5s: without it no node is asked, and none would be missed")
	}
	return nil
}

// missing are the expected nodes that are not among those that answered.
func (f expectFlag) missing(answers []events.Answer) []string {
	var names []string
	for _, name := range f.Expect {
		if !slices.ContainsFunc(answers, func(a events.Answer) bool { return a.Node == name }) {
			names = append(names, name)
		}
	}
	return names
}

// unanswered is an error if an expected node did not answer.
func (f expectFlag) unanswered(answers []events.Answer) error {
	names := f.missing(answers)
	if len(names) == 0 {
		return nil
	}
	for i, name := range names {
		names[i] = printable(name)
	}
	return fmt.Errorf("no answer from %s: stopped, frozen, cut off from this NATS, or called something else; quash status without --expect shows who answers", strings.Join(names, ", "))
}
