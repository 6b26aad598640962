// Command compare measures one request handler behind quash and behind what people use instead, in one run, in turns:
// requests/s, latency, CPU time, time from a revocation to the first rejection, and what happens when the store is
// killed. It needs redis-server and PostgreSQL's programs, starts its own on loopback in a temporary directory, and
// prints Markdown.
//
//	go run ./compare
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

type plan struct {
	rounds      int
	slice       time.Duration
	warm        time.Duration
	connections int
	revocations int
	outage      time.Duration
	stale       time.Duration
	filter      int
	only        string
}

func main() {
	if text := os.Getenv(nodeEnv); text != "" {
		if err := runNode(text); err != nil {
			fmt.Fprintln(os.Stderr, "node:", err)
			os.Exit(1)
		}
		return
	}
	var p plan
	flag.IntVar(&p.rounds, "rounds", 5, "how often every contender has its turn")
	flag.DurationVar(&p.slice, "slice", time.Second, "how long a turn is")
	flag.DurationVar(&p.warm, "warm", 200*time.Millisecond, "how long each is warmed up before its turn")
	flag.IntVar(&p.connections, "connections", 32, "how many clients ask at once")
	flag.IntVar(&p.revocations, "revocations", 100, "how many tokens are revoked for each contender")
	flag.DurationVar(&p.outage, "outage", 40*time.Second, "how long the stores stay dead; 0 leaves them alive")
	flag.DurationVar(&p.stale, "stale", 30*time.Second, "MaxStaleness of quash")
	flag.IntVar(&p.filter, "filter", 100_000, "planned size of the Bloom filter whose mistakes are counted; 0 counts none")
	flag.StringVar(&p.only, "only", "", "names of contenders, separated by commas (all)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, p); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, p plan) (err error) {
	w, err := newWorld(ctx, p)
	if w != nil {
		defer w.close()
	}
	if err != nil {
		return err
	}
	r := report{plan: p, world: w}
	r.machine()
	for round := range p.rounds {
		for _, c := range w.contenders {
			if err := ctx.Err(); err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, p.rounds, c.name)
			if err := w.turn(ctx, c, round); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	r.requests()
	r.rejections()
	if p.outage > 0 {
		fmt.Fprintln(os.Stderr, "killing the stores")
		out, err := w.outage(ctx)
		if err != nil {
			return err
		}
		r.outage(out)
		fmt.Fprintln(os.Stderr, "killing the nodes")
		if err := w.restarts(ctx); err != nil {
			return err
		}
		r.restarts()
	}
	if p.filter > 0 {
		fmt.Fprintln(os.Stderr, "counting the filter's mistakes")
		r.filter(countMistakes(p.filter))
	}
	return nil
}
