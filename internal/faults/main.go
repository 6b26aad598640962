// Command faults starts a NATS cluster, issuers, nodes, publishers and probes as
// real processes, breaks them one after another and in pairs, and checks what quash
// promises meanwhile and afterwards. `make faults` runs all of it and writes
// docs/faults-run.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 3 && (os.Args[1] == "node" || os.Args[1] == "crowd") {
		play := runNode
		if os.Args[1] == "crowd" {
			play = runCrowd
		}
		if err := play(context.Background(), os.Args[2]); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[1], err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 2 && os.Args[1] == "canary" {
		_ = runCanary(os.Stdout) // ends with the driver
		return
	}
	only := flag.String("only", "", "run only the faults whose name matches this regular expression")
	skip := flag.String("skip", "", "leave out the faults whose name matches this regular expression")
	out := flag.String("out", "", "write the table as markdown to this file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := drive(ctx, *only, *skip, *out); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

// drive runs the whole programme.
func drive(ctx context.Context, only, skip, out string) error {
	want, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	not, err := regexp.Compile(skip)
	if err != nil {
		return fmt.Errorf("-skip: %w", err)
	}
	wanted := func(f fault) bool { return want.MatchString(f.name) && (skip == "" || !not.MatchString(f.name)) }
	var chosen []fault
	for _, f := range catalogue() {
		if wanted(f) {
			chosen = append(chosen, f)
		}
	}
	var onBus []fault // in a world of their own
	for _, f := range guardFaults {
		if wanted(f) {
			onBus = append(onBus, f)
		}
	}
	if len(chosen)+len(onBus) == 0 {
		return fmt.Errorf("no fault matches %q", only)
	}
	began := time.Now()
	said := func(format string, args ...any) {
		fmt.Printf("%6.1fs %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	programs, err := os.MkdirTemp("", "quash-faults-bin-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(programs) }()
	bin, err := build(ctx, programs)
	if err == nil {
		bin = special(ctx, bin, programs, chosen, said)
	}
	if err != nil {
		return err
	}
	r := &result{}
	if len(chosen) > 0 {
		if r, err = programme(ctx, bin, chosen, true, said); err != nil {
			return err
		}
	}
	if len(onBus) > 0 {
		more, err := guarded(ctx, bin, onBus, true, said)
		if err != nil {
			return err
		}
		r.episodes = append(r.episodes, more.episodes...)
	}
	fmt.Println()
	fmt.Print(r.table())
	if out != "" {
		if err := os.WriteFile(out, []byte(r.document()), 0o644); err != nil {
			return err
		}
	}
	return r.err()
}
