package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// demoCmd is "quash demo".
type demoCmd struct {
	Nodes        int           `default:"5" help:"How many API nodes to run (${default})."`
	MaxStaleness time.Duration `default:"3s" help:"How old a node's view may be; the demo waits for it to pass (${default})."`
	JSON         bool          `name:"json" help:"Print one JSON object instead of the table."`

	LogLevel string `default:"none" enum:"none,debug,info,warn,error" help:"What to log on standard error: ${enum} (${default}: the demo breaks things on purpose)."`
}

// demo is one run: each step does something real, compares it with what is
// claimed, and leaves behind what the next one needs.
type demo struct {
	world  *demoWorld
	client *client
	waits  *waits
	report demoReport

	revoked []string // access tokens that no node may ever accept again
	first   tokens   // session of which everything is revoked
	other   tokens   // another session of the same user
	latest  tokens   // the login after "revoke all"
	sub     string
}

// step returns what it found. An error means: it differs from the claim.
type step struct {
	name, claim string
	run         func(context.Context, *demo) (found, error)
}

// found is the outcome of a step in words, and its time if one was measured.
type found struct {
	text string
	took time.Duration
}

func (c *demoCmd) Run(p *program) (err error) {
	if c.Nodes < 1 || c.Nodes > 500 {
		return usagef("--nodes", "%d is not from 1 to 500", c.Nodes)
	}
	if c.MaxStaleness < 2*time.Second || c.MaxStaleness > time.Minute {
		return usagef("--max-staleness", "%v is not from 2s to 1m: beacons come about once a second", c.MaxStaleness)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "quash-demo-")
	if err != nil {
		return fmt.Errorf("making a temporary directory: %w", err)
	}
	w := newDemoWorld(dir, c.Nodes, c.MaxStaleness, p.logger(c.LogLevel))
	defer func() {
		w.close()
		if gone := os.RemoveAll(dir); err == nil && gone != nil {
			err = fmt.Errorf("removing the temporary directory: %w", gone)
		}
	}()

	d := &demo{world: w, waits: &waits{most: demoPatience}, report: demoReport{Nodes: c.Nodes, MaxStalenessMS: ms(c.MaxStaleness)}}
	table := &demoTable{out: p.stdout, quiet: c.JSON}
	table.begin(c.Nodes)
	failed := d.perform(ctx, demoSteps(), table)
	d.report.OK = failed == nil
	if err := table.end(&d.report); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return errors.New("interrupted before the end")
	}
	return failed
}

// perform runs the steps in order and stops at the first that differs.
func (d *demo) perform(ctx context.Context, steps []step, table *demoTable) error {
	for _, s := range steps {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
		got, err := s.run(ctx, d)
		cancel()
		result := stepReport{Name: s.name, Claim: s.claim, OK: err == nil, Found: got.text, Waited: d.waits.take()}
		if got.took > 0 {
			took := ms(got.took)
			result.MS = &took
		}
		if err != nil {
			result.Found = err.Error()
		}
		d.report.Steps = append(d.report.Steps, result)
		table.step(result)
		if err != nil {
			return fmt.Errorf("step %q differs from what is claimed: %w", s.name, err)
		}
	}
	return nil
}

func demoSteps() []step {
	return []step{
		{"start", "NATS, issuer and every node are ready", stepStart},
		{"log in", "one user, two sessions", stepLogin},
		{"call", "every node accepts both sessions (200)", stepCall},
		{"revoke the first session", "every node refuses it (401)", stepRevoke},
		{"refresh it", "the issuer refuses too (400 invalid_grant)", stepRefresh},
		{"the other session", "lives on every node and refreshes", stepOther},
		{"revoke all, log in again", "old tokens 401, new one 200, in the same second", stepAgain},
		{"restart a node", "it accepts no revoked token at any moment", stepRestart},
		{"stop NATS", "nodes decide from memory, then answer 503", stepOutage},
		{"start NATS again", "nodes heal by themselves and forgot nothing", stepHeal},
	}
}

func ms(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}
