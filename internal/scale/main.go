// Command scale measures quash with many followers, many statements and many
// revocations at once, on one machine, and projects it further by simulation. `make
// scale` runs all of it; docs/scale.md says what came of it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "child" {
		if err := runChild(os.Args[2]); err != nil {
			fmt.Fprintf(os.Stderr, "scale: %s: %v\n", os.Args[2], err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

// runChild plays one of the roles until the parent ends.
func runChild(role string) error {
	switch role {
	case "server":
		b := &broker{}
		err := b.handlers().serve(os.Stdin, os.Stdout)
		if b.srv != nil {
			b.srv.Shutdown()
			b.srv.WaitForShutdown()
		}
		return err
	case "nodes":
		c := newCrowd()
		defer c.close()
		return c.handlers().serve(os.Stdin, os.Stdout)
	case "holder":
		return holder{}.handlers().serve(os.Stdin, os.Stdout)
	case "load":
		l := newLoad()
		defer l.close()
		return l.handlers().serve(os.Stdin, os.Stdout)
	default:
		return fmt.Errorf("no role is called %q", role)
	}
}

// commands are the parts of the programme, in their order.
var commands = []struct {
	name string
	run  func(context.Context, []string) error
}{
	{"fleet", fleetCommand},
	{"catchup", catchupCommand},
	{"living", livingCommand},
	{"storm", stormCommand},
	{"sim", simCommand},
}

// command runs one part, or all of them as they are in docs/scale.md.
func command(ctx context.Context, args []string) error {
	var names []string
	for _, c := range commands {
		switch {
		case len(args) > 0 && args[0] == c.name:
			return c.run(ctx, args[1:])
		case len(args) == 1 && args[0] == "all":
			fmt.Printf("\n%s\n\n", c.name)
			if err := c.run(ctx, nil); err != nil {
				return err
			}
		}
		names = append(names, c.name)
	}
	if len(args) == 1 && args[0] == "all" {
		return nil
	}
	return fmt.Errorf("say which part: all, %s; each has flags of its own, see -h", strings.Join(names, ", "))
}
