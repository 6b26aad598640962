package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"
)

func catchupCommand(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("catchup", flag.ContinueOnError)
	c := catchupConfig{}
	set.IntVar(&c.Settled, "settled", 100, "nodes that have been following")
	set.IntVar(&c.Joiners, "joiners", 200, "nodes that start at once")
	set.IntVar(&c.Stored, "stored", 100_000, "statements in the stream")
	set.IntVar(&c.Nice, "nice", 19, "by how much the joiners yield, as if they had machines of their own: 0 to 19; -1: once 0 and once 19")
	set.DurationVar(&c.Before, "before", 10*time.Second, "how long the settled are observed alone")
	set.DurationVar(&c.SlotWait, "wait", 0, "how long a joiner waits for a reading slot, at least. 0: as they do by themselves; negative: they read without slots")
	both := set.Bool("both", true, "once more without slots")
	set.IntVar(&c.Children, "children", 4, "processes for the joiners")
	out := set.String("out", "", "append the results as JSON to this file")
	if err := set.Parse(args); err != nil {
		return err
	}
	nices := []int{c.Nice}
	if c.Nice < 0 {
		nices = []int{0, 19}
	}
	waits := []time.Duration{c.SlotWait}
	if *both && c.SlotWait >= 0 {
		waits = append(waits, -1)
	}
	t := table{head: []string{"joiners", "publish → applied at the settled, quiet, p50 / p99 / max, ms", "meanwhile", "their oldest view, quiet, ms", "meanwhile", "joined after: the first / p50 / p99 / max, s", "waited for a slot", "published again", "CPU per statement read, server / node, µs", "lost / not enforced"}}
	for _, c.Nice = range nices {
		for _, c.SlotWait = range waits {
			name := "with slots"
			if c.SlotWait < 0 {
				name = "without"
			}
			name = fmt.Sprintf("%d, nice %d, %s", c.Joiners, c.Nice, name)
			fmt.Fprintln(os.Stderr, "catchup:", name)
			r, err := c.run(ctx)
			if err != nil {
				return err
			}
			if err := appendJSON(*out, r); err != nil {
				return err
			}
			t.rows = append(t.rows, []string{name, r.Quiet.String(), r.During.String(), r.OldQuiet.String(), r.OldThen.String(),
				secs(r.First, r.Joined.P50, r.Joined.P99, r.Joined.Max), fmt.Sprint(r.Waited), fmt.Sprint(r.Again), us(r.ServerCPU) + " / " + us(r.NodeCPU), fmt.Sprintf("%d / %d", r.Lost, r.Unenforced)})
			fmt.Fprint(os.Stderr, t.String())
		}
	}
	fmt.Print(t.String())
	return nil
}
