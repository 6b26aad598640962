package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/quash-auth/quash/internal/scale/sim"
)

func simCommand(_ context.Context, args []string) error {
	set := flag.NewFlagSet("sim", flag.ContinueOnError)
	from := set.String("from", "", "results of fleet and catchup, written with -out; empty: those of docs/scale.md")
	seed := set.Uint64("seed", 1, "of the random numbers")
	if err := set.Parse(args); err != nil {
		return err
	}
	text := measured
	if *from != "" {
		var err error
		if text, err = os.ReadFile(*from); err != nil {
			return err
		}
	}
	e, err := readEvidence(text)
	if err != nil {
		return err
	}
	c := e.costs()
	fmt.Print(costTable(c) + "\n")
	for _, part := range []func(evidence, sim.Costs, uint64) (string, error){checkTable, projectTable, dropTable, joinTable, crowdTable} {
		text, err := part(e, c, *seed)
		if err != nil {
			return err
		}
		fmt.Print(text + "\n")
	}
	return nil
}

func costTable(c sim.Costs) string {
	t := table{head: []string{"cost", "µs"}}
	for _, row := range []struct {
		name string
		d    time.Duration
	}{
		{"a server stores a statement, CPU", c.Publish}, {"until it is on the disk", c.Store}, {"a server delivers it to one node or server, CPU", c.Fan},
		{"the same while it is at an earlier one, CPU", c.FanMore},
		{"a node applies it, CPU", c.Apply}, {"the same while it is at an earlier one, CPU", c.ApplyMore}, {"a server takes a connection, CPU", c.Connect}, {"it serves a short catch-up, CPU", c.Catch},
		{"a node connects and catches up, CPU", c.Rejoin}, {"a server reads one stored statement, CPU", c.Read}, {"a node takes it in, CPU", c.Take},
	} {
		t.rows = append(t.rows, []string{row.name, us(row.d)})
	}
	return t.String()
}

// checkTable holds the simulation to fleets that were measured on this one machine.
func checkTable(e evidence, c sim.Costs, seed uint64) (string, error) {
	t := table{head: []string{"one machine of two cores", "predicted, ms", "measured, ms (each run)", "error of the mean"}}
	byNodes := map[int][]fleetResult{}
	var sizes []int
	for _, r := range e.large {
		if byNodes[r.Nodes] == nil {
			sizes = append(sizes, r.Nodes)
		}
		byNodes[r.Nodes] = append(byNodes[r.Nodes], r)
	}
	slices.Sort(sizes)
	for _, n := range sizes {
		rs := byNodes[n]
		o, err := sim.Run(sim.Fleet{Costs: c, Seed: seed, Nodes: int(rs[0].receivers()), Regions: []time.Duration{0}, Near: 20 * time.Microsecond,
			Shared: 2, Processes: rs[0].Children, Statements: rs[0].Statements, Every: rs[0].Pace})
		if err != nil {
			return "", err
		}
		d, err := sim.Run(sim.Fleet{Costs: c, Seed: seed, Nodes: int(rs[0].receivers()), Regions: []time.Duration{0}, Near: 20 * time.Microsecond,
			Shared: 2, Processes: rs[0].Children, Statements: 200, Every: probeEvery, Drop: true})
		if err != nil {
			return "", err
		}
		each, last, fresh := quantilesOf(slices.Clone(o.Took)), quantilesOf(slices.Clone(o.Last)), quantilesOf(slices.Clone(d.Fresh))
		for _, row := range []struct {
			name string
			p    time.Duration
			m    func(fleetResult) time.Duration
		}{
			{"every delivery, p50", each.P50, func(r fleetResult) time.Duration { return r.Each.P50 }},
			{"every delivery, p99", each.P99, func(r fleetResult) time.Duration { return r.Each.P99 }},
			{"the last node, p50", last.P50, func(r fleetResult) time.Duration { return r.Last.P50 }},
			{"the last node, p99", last.P99, func(r fleetResult) time.Duration { return r.Last.P99 }},
			{"all dropped, fresh again p50", fresh.P50, func(r fleetResult) time.Duration { return r.Drop.Fresh.P50 }},
			{"all dropped, the last fresh again", fresh.Max, func(r fleetResult) time.Duration { return r.Drop.Fresh.Max }},
		} {
			var runs string
			for i, r := range rs {
				if i > 0 {
					runs += " / "
				}
				runs += ms(row.m(r))
			}
			m := mean(rs, row.m)
			t.rows = append(t.rows, []string{fmt.Sprintf("%s nodes: %s", group(n), row.name), ms(row.p), runs, fmt.Sprintf("%+.0f %%", 100*(float64(row.p)/float64(m)-1))})
		}
	}
	return t.String(), nil
}

// world is three regions: home, 40 ms and 80 ms away. Every server has four cores of
// the kind that was measured, every node a machine of its own.
func project(c sim.Costs, seed uint64, nodes int, shape sim.Shape) sim.Fleet {
	return sim.Fleet{Costs: c, Seed: seed, Nodes: nodes, Shape: shape, Regions: []time.Duration{0, 40 * time.Millisecond, 80 * time.Millisecond},
		Near: 250 * time.Microsecond, Servers: 3, PerRegion: max(nodes/10_000, 1), Cores: 4, Statements: 20, Every: 500 * time.Millisecond}
}

var shapes = []sim.Shape{sim.Direct, sim.Leaf, sim.Mirror}

func projectTable(_ evidence, c sim.Costs, seed uint64) (string, error) {
	t := table{head: []string{"three regions", "servers", "home: publish → applied p50 / p99, ms", "40 ms away", "80 ms away", "the last node p50 / p99 / max, ms", "server CPU per statement, ms, all / the busiest allows statements/s"}}
	for _, nodes := range []int{1000, 10_000, 100_000} {
		for _, shape := range shapes {
			f := project(c, seed, nodes, shape)
			o, err := sim.Run(f)
			if err != nil {
				return "", err
			}
			region := func(r int) string {
				var d []time.Duration
				for n := range f.Statements {
					for i := r; i < nodes; i += len(f.Regions) {
						d = append(d, o.Took[n*nodes+i])
					}
				}
				q := quantilesOf(d)
				return ms(q.P50) + " / " + ms(q.P99)
			}
			t.rows = append(t.rows, []string{fmt.Sprintf("%s nodes, %v", group(nodes), shape), fmt.Sprint(o.Servers), region(0), region(1), region(2),
				quantilesOf(o.Last).String(), ms(o.ServerCPU/time.Duration(f.Statements)) + " / " + fmt.Sprintf("%.0f", float64(f.Statements*f.Cores)/o.Busiest.Seconds())})
		}
	}
	return t.String(), nil
}

func dropTable(_ evidence, c sim.Costs, seed uint64) (string, error) {
	t := table{head: []string{"all lose their connections at once", "fresh again p50 / p99 / max, ms", "connections that took longer than 2 s", "catch-ups refused for too many consumers"}}
	for _, nodes := range []int{1000, 10_000, 100_000} {
		for _, shape := range shapes {
			f := project(c, seed, nodes, shape)
			f.Drop = true
			o, err := sim.Run(f)
			if err != nil {
				return "", err
			}
			t.rows = append(t.rows, []string{fmt.Sprintf("%s nodes, %v", group(nodes), shape), quantilesOf(o.Fresh).String(), group(o.TimedOut), group(o.Refused)})
		}
	}
	return t.String(), nil
}
