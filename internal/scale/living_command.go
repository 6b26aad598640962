package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func livingCommand(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("living", flag.ContinueOnError)
	numbers := set.String("n", "100000,1000000,10000000", "living statements; separated by commas")
	steps := set.String("step", "hold,fill,restart,expire", "which steps; separated by commas")
	dir := set.String("dir", "", "where the stream is, for steps that are run one by one; empty: a temporary one")
	runs := set.Int("runs", 3, "restarts of a node")
	lead := set.Duration("lead", 0, "from the fill until the first statement ends. 0: what the number needs")
	relax := set.Bool("relax", false, "the server does not sync each message while the statements end")
	out := set.String("out", "", "append the results as JSON to this file")
	if err := set.Parse(args); err != nil {
		return err
	}
	var l livingReport
	for text := range strings.SplitSeq(*numbers, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1000 {
			return fmt.Errorf("-n: %q is not a number of at least 1000", text)
		}
		if err := l.run(ctx, n, *steps, *dir, *runs, *lead, *relax, *out); err != nil {
			return fmt.Errorf("%d statements: %w", n, err)
		}
	}
	fmt.Print(l.String())
	return nil
}

// livingReport collects what the steps found.
type livingReport struct {
	held    []holdResult
	stored  []livingResult
	expired []expireResult
}

func (l *livingReport) run(ctx context.Context, n int, steps, dir string, runs int, lead time.Duration, relax bool, out string) (err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "quash-living-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	c := livingConfig{Statements: n, Dir: filepath.Join(dir, strconv.Itoa(n)), Relax: relax}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return err
	}
	holdLead := lead
	if lead == 0 {
		holdLead = 15*time.Second + time.Duration(n)*5*time.Microsecond
	}
	note := filepath.Join(dir, strconv.Itoa(n)+".end") // from one step to another
	if lead == 0 {
		lead = 90*time.Second + time.Duration(n)*120*time.Microsecond
	}
	for step := range strings.SplitSeq(steps, ",") {
		fmt.Fprintf(os.Stderr, "%s %d\n", step, n)
		if text, err := os.ReadFile(note); err == nil && step != "fill" {
			if c.End, err = time.Parse(time.RFC3339, string(text)); err != nil {
				return err
			}
		}
		var what any
		switch step {
		case "hold":
			err = l.hold(n, holdLead, out)
		case "fill":
			c.End = time.Now().Add(lead).Truncate(time.Second)
			if err = os.WriteFile(note, []byte(c.End.Format(time.RFC3339)), 0o600); err == nil {
				what, err = c.fill(ctx)
			}
		case "restart":
			var r livingResult
			r, err = c.restarts(ctx, runs)
			l.stored, what = append(l.stored, r), r
		case "expire":
			var r expireResult
			r, err = c.expire(ctx)
			l.expired, what = append(l.expired, r), r
		default:
			err = fmt.Errorf("no step is called %q", step)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
		if what == nil {
			continue
		}
		if err := appendJSON(out, what); err != nil {
			return err
		}
	}
	return nil
}

// hold measures the denylist alone, with all details and with a budget.
func (l *livingReport) hold(n int, lead time.Duration, out string) error {
	for _, budget := range []int64{0, 16 * int64(n)} {
		c := holdConfig{Statements: n, Budget: budget}
		if budget == 0 {
			c.Lead = lead
		}
		p, err := spawn("holder", "holder", 0)
		if err != nil {
			return err
		}
		var r holdResult
		err = p.call("hold", c, &r)
		if err := errors.Join(err, endAll([]*child{p})); err != nil {
			return err
		}
		l.held = append(l.held, r)
		if err := appendJSON(out, r); err != nil {
			return err
		}
	}
	return nil
}

func (l *livingReport) String() string {
	var b strings.Builder
	t := table{head: []string{"denylist alone", "fill, s", "RSS / heap / index, B per statement", "check 1 / 2 goroutines / hashes kept, ns", "one statement applied, before, p50 / p99 / max, µs", "in the minute", "a check, before, µs", "in the minute", "CPU before / in the minute, cores", "longest GC pause, ms", "99.9 % gone after, s (left after 30 s)", "wrong"}}
	for _, r := range l.held {
		per := func(n int64) string { return strconv.FormatFloat(float64(n)/float64(r.Statements), 'f', 1, 64) }
		name := group(r.Statements)
		if r.Budget > 0 {
			name += ", 16 B each for details"
		}
		t.rows = append(t.rows, []string{name, secs(r.Fill), per(r.RSS) + " / " + per(r.Heap) + " / " + per(r.Index),
			fmt.Sprintf("%d / %d / %d", r.Lookup.Nanoseconds(), r.Lookup2.Nanoseconds(), r.Seen.Nanoseconds()),
			r.Before.Apply.micro(), r.During.Apply.micro(), r.Before.Check.micro(), r.During.Check.micro(),
			fmt.Sprintf("%.3f / %.3f", r.Before.CPU, r.During.CPU), ms(r.During.Collector), fmt.Sprintf("%s (%d)", secs(r.Gone), r.Rest), strconv.Itoa(r.Wrong)})
	}
	b.WriteString(t.String() + "\n")
	t = table{head: []string{"stream and node", "server: restart, s", "RSS / heap, B per statement", "disk, B per statement", "node: start → ready, s", "RSS / heap / heap with a budget, B per statement", "with a snapshot: ready, s", "and fresh, s", "snapshot, B per statement"}}
	for _, r := range l.stored {
		per := func(n int64) string { return strconv.FormatFloat(float64(n)/float64(r.Statements), 'f', 1, 64) }
		t.rows = append(t.rows, []string{group(r.Statements), secs(r.ServerStart), per(r.ServerRSS) + " / " + per(r.ServerHeap), per(r.Disk), secs(r.Replay...),
			per(r.NodeRSS) + " / " + per(r.NodeHeap) + " / " + per(r.Lean), secs(r.WarmReady...), secs(r.WarmFresh...), per(r.Snapshot)})
	}
	b.WriteString(t.String() + "\n")
	t = table{head: []string{"all end within a minute", "publish → applied before, p50 / p99 / max, ms", "in the minute", "server CPU before / in the minute, cores", "left in the stream at its end", "gone after, s", "lost"}}
	for _, r := range l.expired {
		t.rows = append(t.rows, []string{group(r.Statements), r.Quiet.String(), r.During.String(), fmt.Sprintf("%.3f / %.3f", r.QuietCPU, r.DuringCPU), group(r.Left), secs(r.Gone), strconv.Itoa(r.Lost)})
	}
	b.WriteString(t.String())
	return b.String()
}
