package main

import (
	"context"
	"flag"
	"fmt"
	"os"
)

func catchupCommand(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("catchup", flag.ContinueOnError)
	c := catchupConfig{}
	set.IntVar(&c.Settled, "settled", 100, "nodes that have been following")
	set.IntVar(&c.Joiners, "joiners", 200, "nodes that start at once")
	set.IntVar(&c.Stored, "stored", 100_000, "statements in the stream")
	set.IntVar(&c.Nice, "nice", -1, "by how much the joiners yield, as if they had machines of their own: 0 to 19; -1: once 0 and once 19")
	set.IntVar(&c.Children, "children", 4, "processes for the joiners")
	out := set.String("out", "", "append the results as JSON to this file")
	if err := set.Parse(args); err != nil {
		return err
	}
	nices := []int{c.Nice}
	if c.Nice < 0 {
		nices = []int{0, 19}
	}
	t := table{head: []string{"joiners", "publish → applied at the settled, quiet, p50 / p99 / max, ms", "meanwhile", "their oldest view, quiet, ms", "meanwhile", "joined after p50 / p99 / max, s", "CPU per statement read, server / node, µs", "lost / not enforced"}}
	for _, c.Nice = range nices {
		fmt.Fprintf(os.Stderr, "catchup, %d joiners, nice %d\n", c.Joiners, c.Nice)
		r, err := c.run(ctx)
		if err != nil {
			return err
		}
		if err := appendJSON(*out, r); err != nil {
			return err
		}
		t.rows = append(t.rows, []string{fmt.Sprintf("%d, nice %d", r.Joiners, r.Nice), r.Quiet.String(), r.During.String(), r.OldQuiet.String(), r.OldThen.String(),
			secs(r.Joined.P50, r.Joined.P99, r.Joined.Max), us(r.ServerCPU) + " / " + us(r.NodeCPU), fmt.Sprintf("%d / %d", r.Lost, r.Unenforced)})
	}
	fmt.Print(t.String())
	return nil
}
