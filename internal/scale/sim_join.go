package main

import (
	"fmt"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/scale/sim"
)

// joined is what came of a fleet of which many read much.
type joined struct {
	before, meanwhile quantiles // publish → applied at the settled
	ready             quantiles // each of the joiners
	first             time.Duration
}

func runJoin(f sim.Fleet) (j joined, err error) {
	o, err := sim.Run(f)
	if err != nil {
		return j, err
	}
	settled := f.Nodes - f.Joiners
	took := func(from, to int) quantiles {
		var d []time.Duration
		for n := from; n < to; n++ {
			d = append(d, o.Took[n*f.Nodes:n*f.Nodes+settled]...)
		}
		return quantilesOf(d)
	}
	middle := f.Statements / 2
	j.ready = quantilesOf(o.Joined)
	j.first = o.Joined[0] // they are sorted now
	j.before = took(0, middle)
	j.meanwhile = took(middle+5, max(middle+6, min(f.Statements, middle+int(j.ready.Max/f.Every))))
	return j, nil
}

// joinTable lets 200 of 300 nodes read 100,000 statements from one server of two cores.
func joinTable(_ evidence, c sim.Costs, seed uint64) (string, error) {
	t := table{head: []string{"200 nodes read 100,000 statements each", "publish → applied at 100 others before, p50 / p99, ms", "meanwhile", "ready after: the first / p50 / the last, s"}}
	for _, way := range []struct {
		name   string
		slots  int
		polite time.Duration
	}{
		{"all at once, as it was", 0, 0},
		{"4 slots", 4, 0},
		{"8 slots, as built", 8, 0},
		{"16 slots", 16, 0},
		{"32 slots", 32, 0},
		{"all at once, with a pause after a batch that took longer than 20 ms", 0, 20 * time.Millisecond},
		{"longer than 10 ms", 0, 10 * time.Millisecond},
	} {
		j, err := runJoin(sim.Fleet{Costs: c, Seed: seed, Nodes: 300, Regions: []time.Duration{0}, Near: 250 * time.Microsecond, Cores: 2,
			Statements: 3000, Every: probeEvery, Joiners: 200, Stored: 100_000, Polite: way.polite, Slots: way.slots})
		if err != nil {
			return "", err
		}
		t.rows = append(t.rows, []string{way.name, ms(j.before.P50) + " / " + ms(j.before.P99), ms(j.meanwhile.P50) + " / " + ms(j.meanwhile.P99), secs(j.first, j.ready.P50, j.ready.Max)})
	}
	return t.String(), nil
}

// crowdTable holds the simulation to crowds of readers that were measured on this one machine.
func crowdTable(e evidence, c sim.Costs, seed uint64) (string, error) {
	t := table{head: []string{"one machine of two cores", "", "publish → applied at the settled meanwhile, p50 / p99 / max, ms", "ready after: the first / p50 / the last, s"}}
	for _, r := range e.crowded {
		if r.Nice != 0 {
			continue // the simulation has no priorities
		}
		f := sim.Fleet{Costs: c, Seed: seed, Nodes: r.Settled + r.Joiners, Regions: []time.Duration{0}, Near: 20 * time.Microsecond, Shared: 2, Processes: r.Children + 1,
			Statements: probeMost, Every: insistEvery, Joiners: r.Joiners, Stored: r.Stored, SlotWait: max(r.SlotWait, 0)}
		name := "without"
		if r.SlotWait >= 0 {
			f.Slots, name = len(events.ReadingSlots()), "with slots"
		}
		j, err := runJoin(f)
		if err != nil {
			return "", err
		}
		name = fmt.Sprintf("%d read %s statements each, %s", r.Joiners, group(r.Stored), name)
		t.rows = append(t.rows, []string{name, "predicted", j.meanwhile.String(), secs(j.first, j.ready.P50, j.ready.Max)},
			[]string{name, "measured", r.During.String(), secs(r.First, r.Joined.P50, r.Joined.Max)})
	}
	return t.String(), nil
}
