package main

import (
	"bufio"
	"bytes"
	_ "embed" // the measurements of docs/scale.md
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/quash-auth/quash/internal/scale/sim"
)

// measured are results of the fleet and catchup commands, one a line, by which the
// simulation is calibrated and against which it is checked.
//
//go:embed measured.jsonl
var measured []byte

// evidence is what was measured.
type evidence struct {
	lone, small, leaf []fleetResult   // 1 and 100 nodes, 100 nodes behind leaf nodes
	large             []fleetResult   // what is to be predicted
	caught            []catchupResult // one that catches up
	crowded           []catchupResult // many; to be predicted
}

// readEvidence sorts the lines; those of other experiments are not needed.
func readEvidence(text []byte) (e evidence, err error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(make([]byte, 1<<16), 1<<20)
	for lines.Scan() {
		var c catchupResult
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return e, fmt.Errorf("read the measurements: %w", err)
		}
		switch {
		case c.Joiners == 1:
			e.caught = append(e.caught, c)
			continue
		case c.Joiners > 1:
			e.crowded = append(e.crowded, c)
			continue
		}
		var r fleetResult
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return e, fmt.Errorf("read the measurements: %w", err)
		}
		switch {
		case r.Kind != kindFeed:
		case r.Topology == topoOne && r.Nodes == 1:
			e.lone = append(e.lone, r)
		case r.Topology == topoOne && r.Nodes == 100:
			e.small = append(e.small, r)
		case r.Topology == topoLeaf && r.Nodes == 100:
			e.leaf = append(e.leaf, r)
		case r.Topology == topoOne:
			e.large = append(e.large, r)
		}
	}
	if err := lines.Err(); err != nil {
		return e, err
	}
	if len(e.lone) == 0 || len(e.small) == 0 || len(e.leaf) == 0 || len(e.caught) == 0 {
		return e, errors.New("the measurements lack some: run fleet with 1 and 100 nodes, with 100 and -topology leaf, and catchup with 1 joiner")
	}
	return e, nil
}

// mean of a figure over several runs.
func mean[R any](rs []R, f func(R) time.Duration) time.Duration {
	sum := time.Duration(0)
	for _, r := range rs {
		sum += f(r)
	}
	return sum / time.Duration(len(rs))
}

// receivers of every statement.
func (r fleetResult) receivers() time.Duration { return time.Duration(r.Nodes + r.Others) }

// perDrop is the CPU for each dropped connection: without what it cost to publish
// meanwhile, and to deliver to the others, and to the dropped once they were back.
func (r fleetResult) perDrop(all, publish, deliver time.Duration) time.Duration {
	statements := r.Drop.Fresh.Max / probeEvery
	back := (r.Drop.Fresh.Max - r.Drop.Fresh.P50) / probeEvery
	all -= statements*(publish+time.Duration(r.Others)*deliver) + back*time.Duration(r.Nodes)*deliver
	return max(all/time.Duration(max(r.Drop.Dropped, 1)), time.Microsecond)
}

// costs are the parameters of the simulation. None comes from the fleets that are to
// be predicted.
func (e evidence) costs() sim.Costs {
	var c sim.Costs
	// A statement costs the server once, and each of its deliveries: two equations.
	statement := func(r fleetResult) time.Duration { return r.ServerCPU * r.receivers() }
	receivers := func(r fleetResult) time.Duration { return r.receivers() }
	alone, many := mean(e.lone, statement), mean(e.small, statement)
	few := mean(e.lone, receivers)
	c.Fan = max((many-alone)/(mean(e.small, receivers)-few), time.Microsecond)
	c.Publish = max(alone-few*c.Fan, time.Microsecond)
	c.Apply = mean(e.small, func(r fleetResult) time.Duration { return r.NodeCPU })
	c.FanMore = mean(e.small, func(r fleetResult) time.Duration { return r.BurstServer })
	c.ApplyMore = mean(e.small, func(r fleetResult) time.Duration { return r.BurstNode })
	first := mean(e.lone, func(r fleetResult) time.Duration { return r.Each.P50 })
	c.Store = max(first-c.Publish-(few+1)/2*(c.Fan+c.Apply)/2, 0) // half of the others are served before, by two cores
	whole := mean(e.small, func(r fleetResult) time.Duration { return r.perDrop(r.Drop.ServerCPU, c.Publish, c.Fan) })
	hub, both := mean(e.leaf, func(r fleetResult) time.Duration { return r.Drop.HubCPU }), mean(e.leaf, func(r fleetResult) time.Duration { return r.Drop.ServerCPU })
	c.Catch = max(time.Duration(float64(whole)*float64(hub)/float64(max(both, 1))), time.Microsecond)
	c.Connect = max(whole-c.Catch, time.Microsecond)
	c.Rejoin = mean(e.small, func(r fleetResult) time.Duration { return r.perDrop(r.Drop.NodeCPU, 0, c.Apply) })
	c.Read = mean(e.caught, func(r catchupResult) time.Duration { return r.ServerCPU })
	c.Take = mean(e.caught, func(r catchupResult) time.Duration { return r.NodeCPU })
	return c
}
