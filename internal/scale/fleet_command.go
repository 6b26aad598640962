package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

func fleetCommand(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("fleet", flag.ContinueOnError)
	topologies := set.String("topology", "one,three,leaf", "one, three, leaf; separated by commas")
	kinds := set.String("kind", "feed,ordered,bare", "feed, ordered, bare; separated by commas")
	c := fleetConfig{}
	set.IntVar(&c.Nodes, "nodes", 1000, "followers")
	set.IntVar(&c.Others, "others", 20, "followers that are not dropped")
	set.IntVar(&c.Children, "children", 4, "processes for the followers")
	set.IntVar(&c.Statements, "statements", 200, "published one after the other")
	set.DurationVar(&c.Pace, "pace", 50*time.Millisecond, "between them")
	set.IntVar(&c.Burst, "burst", 500, "published at once")
	out := set.String("out", "", "append the results as JSON to this file")
	if err := set.Parse(args); err != nil {
		return err
	}
	var results []fleetResult
	for topology := range strings.SplitSeq(*topologies, ",") {
		for kind := range strings.SplitSeq(*kinds, ",") {
			c.Topology, c.Kind = topology, kind
			fmt.Fprintf(os.Stderr, "%s %s %d\n", topology, kind, c.Nodes)
			r, err := c.run(ctx)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", topology, kind, err)
			}
			results = append(results, r)
			if err := appendJSON(*out, r); err != nil {
				return err
			}
		}
	}
	fmt.Print(fleetTable(results))
	return nil
}

// fleetTable has one column for each experiment.
func fleetTable(rs []fleetResult) string {
	t := table{head: []string{""}}
	row := func(name string, f func(fleetResult) string) {
		cells := []string{name}
		for _, r := range rs {
			cells = append(cells, f(r))
		}
		t.rows = append(t.rows, cells)
	}
	for _, r := range rs {
		t.head = append(t.head, fmt.Sprintf("%s, %s, %d", r.Topology, r.Kind, r.Nodes))
	}
	row("all started at once, ready p50 / p99 / max, ms", func(r fleetResult) string { return r.Ready.String() })
	row("publish → applied, every delivery, p50 / p99 / max, ms", func(r fleetResult) string { return r.Each.String() })
	row("publish → applied by the last, p50 / p99 / max, ms", func(r fleetResult) string { return r.Last.String() })
	row("server CPU per delivery, µs", func(r fleetResult) string { return us(r.ServerCPU) })
	row("node CPU per delivery, µs", func(r fleetResult) string { return us(r.NodeCPU) })
	row("idle: servers / nodes, cores", func(r fleetResult) string { return fmt.Sprintf("%.3f / %.3f", r.ServerIdle, r.NodeIdle) })
	row("servers' memory per follower, RSS / heap, KiB", func(r fleetResult) string { return kib(r.ServerRSS) + " / " + kib(r.ServerHeap) })
	row("a follower's own memory, RSS / heap, KiB", func(r fleetResult) string { return kib(r.NodeRSS) + " / " + kib(r.NodeHeap) })
	row("burst: all applied after, ms", func(r fleetResult) string { return ms(r.BurstTook) })
	row("burst: server / node CPU per delivery, µs", func(r fleetResult) string { return us(r.BurstServer) + " / " + us(r.BurstNode) })
	row("dropped", func(r fleetResult) string { return fmt.Sprint(r.Drop.Dropped) })
	row("fresh again p50 / p99 / max, ms", func(r fleetResult) string { return r.Drop.Fresh.String() })
	row("server / node CPU per drop, µs", func(r fleetResult) string {
		n := time.Duration(max(r.Drop.Dropped, 1))
		return us(r.Drop.ServerCPU/n) + " / " + us(r.Drop.NodeCPU/n)
	})
	row("the same with nothing published, µs", func(r fleetResult) string {
		n := time.Duration(max(r.Still.Dropped, 1))
		return us(r.Still.ServerCPU/n) + " / " + us(r.Still.NodeCPU/n)
	})
	row("bytes per drop, to / from the servers", func(r fleetResult) string {
		n := int64(max(r.Drop.Dropped, 1))
		return fmt.Sprintf("%d / %d", r.Drop.InBytes/n, r.Drop.OutBytes/n)
	})
	row("the others, publish → applied, quiet, ms", func(r fleetResult) string { return r.Drop.Quiet.String() })
	row("the others meanwhile, ms", func(r fleetResult) string { return r.Drop.During.String() })
	row("the others' oldest view, quiet, ms", func(r fleetResult) string { return r.Drop.OldQuiet.String() })
	row("the others' oldest view meanwhile, ms", func(r fleetResult) string { return r.Drop.OldThen.String() })
	row("server killed, and up again after, ms", func(r fleetResult) string { return ms(r.Restarted) })
	row("fresh again p50 / p99 / max, ms", func(r fleetResult) string { return r.Killed.String() })
	row("statements lost / not enforced", func(r fleetResult) string { return fmt.Sprintf("%d / %d", r.Lost, r.Unenforced) })
	row("gaps / reconnects forced", func(r fleetResult) string { return fmt.Sprintf("%d / %d", r.Feeds.Gaps, r.Feeds.Forced) })
	return t.String()
}
