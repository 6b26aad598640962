package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

func stormCommand(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("storm", flag.ContinueOnError)
	c := stormConfig{}
	set.IntVar(&c.Nodes, "nodes", 8, "APIs")
	set.IntVar(&c.Statements, "statements", 100_000, "revoked at once")
	set.IntVar(&c.Workers, "workers", 32, "requests under way")
	set.DurationVar(&c.Calm, "calm", 5*time.Second, "before and after")
	rates := set.String("rate", "0,4000", "requests a second, 0 as fast as answers come; separated by commas")
	runs := set.Int("runs", 3, "how often")
	out := set.String("out", "", "append the results as JSON to this file")
	if err := set.Parse(args); err != nil {
		return err
	}
	var results []stormResult
	for text := range strings.SplitSeq(*rates, ",") {
		if _, err := fmt.Sscan(text, &c.Rate); err != nil {
			return fmt.Errorf("-rate: %q is not a number", text)
		}
		for range *runs {
			fmt.Fprintf(os.Stderr, "storm, rate %v\n", c.Rate)
			r, err := c.run(ctx)
			if err != nil {
				return err
			}
			results = append(results, r)
			if err := appendJSON(*out, r); err != nil {
				return err
			}
		}
	}
	fmt.Print(stormTable(results))
	return nil
}

func stormTable(rs []stormResult) string {
	t := table{head: []string{"traffic", "requests/s before / during / after", "latency before, p50 / p99 / max, ms", "during", "p50, p99 ratio", "all acknowledged, s", "enforced at all nodes, s", "lost / not enforced", "covered tokens refused afterwards", "good tokens not accepted"}}
	for _, r := range rs {
		name := "as fast as answered"
		if r.Rate > 0 {
			name = fmt.Sprintf("%.0f/s", r.Rate)
		}
		rate := func(l loadResult) string { return group(int(float64(l.Latency.N) / l.Took.Seconds())) }
		ratio := func(a, b time.Duration) string { return fmt.Sprintf("%.1f", float64(a)/float64(max(b, 1))) }
		t.rows = append(t.rows, []string{name, rate(r.Before) + " / " + rate(r.During) + " / " + rate(r.After), r.Before.Latency.String(), r.During.Latency.String(),
			ratio(r.During.Latency.P50, r.Before.Latency.P50) + ", " + ratio(r.During.Latency.P99, r.Before.Latency.P99),
			secs(r.Acked), secs(r.Enforced), fmt.Sprintf("%d / %d", r.Lost, r.Unenforced), fmt.Sprintf("%d of %d", r.Refused, r.Doomed), fmt.Sprint(r.Again)})
	}
	return t.String()
}
