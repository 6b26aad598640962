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
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "node" {
		if err := runNode(context.Background(), os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "node:", err)
			os.Exit(1)
		}
		return
	}
	only := flag.String("only", "", "run only the faults whose name matches this regular expression")
	out := flag.String("out", "", "write the table as markdown to this file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := drive(ctx, *only, *out); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

// drive runs the whole programme.
func drive(ctx context.Context, only, out string) error {
	want, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	var chosen []fault
	for _, f := range catalogue() {
		if want.MatchString(f.name) {
			chosen = append(chosen, f)
		}
	}
	if len(chosen) == 0 {
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
	if err != nil {
		return err
	}
	r, err := programme(ctx, bin, chosen, true, said)
	if err != nil {
		return err
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

// build compiles what a world runs.
func build(ctx context.Context, dir string) (binaries, error) {
	const module = "github.com/quash-auth/quash/"
	out, err := exec.CommandContext(ctx, "go", "build", "-o", dir+string(filepath.Separator), module+"internal/natstest/natsd", module+"cmd/quash", module+"internal/faults").CombinedOutput()
	if err != nil {
		return binaries{}, fmt.Errorf("build what is to be run: %w: %s", err, out)
	}
	return binaries{natsd: filepath.Join(dir, "natsd"), quash: filepath.Join(dir, "quash"), self: filepath.Join(dir, "faults")}, nil
}
