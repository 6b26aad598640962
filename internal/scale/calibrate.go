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
	lone, small, leaf []fleetResult // 1 and 100 nodes, 100 nodes behind leaf nodes
	large             []fleetResult // what is to be predicted
	caught            []catchupResult
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
		if c.Joiners > 0 {
			e.caught = append(e.caught, c)
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

// costs are the parameters of the simulation. None comes from the fleets that are to
// be predicted.
func (e evidence) costs() sim.Costs {
	per := func(f func(dropResult) time.Duration) func(fleetResult) time.Duration {
		return func(r fleetResult) time.Duration { return f(r.Drop) / time.Duration(max(r.Drop.Dropped, 1)) }
	}
	var c sim.Costs
	alone := mean(e.lone, func(r fleetResult) time.Duration { return r.ServerCPU }) // of a statement and one delivery
	many := mean(e.small, func(r fleetResult) time.Duration { return r.ServerCPU })
	c.Fan = max((100*many-alone)/99, time.Microsecond)
	c.Publish = max(alone-c.Fan, time.Microsecond)
	c.Apply = mean(e.small, func(r fleetResult) time.Duration { return r.NodeCPU })
	first := mean(e.lone, func(r fleetResult) time.Duration { return r.Each.P50 })
	c.Store = max(first-c.Publish-c.Fan-c.Apply, 0)
	whole := mean(e.small, per(func(d dropResult) time.Duration { return d.ServerCPU }))
	hub := mean(e.leaf, per(func(d dropResult) time.Duration { return d.HubCPU }))
	both := mean(e.leaf, per(func(d dropResult) time.Duration { return d.ServerCPU }))
	c.Catch = time.Duration(float64(whole) * float64(hub) / float64(max(both, 1)))
	c.Connect = whole - c.Catch
	c.Rejoin = mean(e.small, per(func(d dropResult) time.Duration { return d.NodeCPU }))
	c.Read = mean(e.caught, func(r catchupResult) time.Duration { return r.ServerCPU })
	c.Take = mean(e.caught, func(r catchupResult) time.Duration { return r.NodeCPU })
	return c
}
