package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
)

// statusCmd is "quash status".
type statusCmd struct {
	Quiet time.Duration `default:"150ms" help:"Stop waiting when nobody has answered for so long (${default})."`
	JSON  bool          `name:"json" help:"Print one JSON array."`

	expectFlag `embed:""`
	natsFlags  `embed:""`
}

func (c *statusCmd) Run(p *program) error {
	if c.Quiet <= 0 {
		return usagef("--quiet", "%v is not a positive duration", c.Quiet)
	}
	if err := c.check(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	conn, err := c.connectNow(ctx, "quash-status", p.logger("error"))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, refusal := c.permitted(ctx, conn)
	answers, err := c.ask(ctx, conn)
	if err = refusal(err); err != nil {
		return fmt.Errorf("asking the fleet: %w", err)
	}
	slices.SortFunc(answers, func(a, b events.Answer) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Node, b.Node))
	})
	if c.JSON {
		if answers == nil {
			answers = []events.Answer{}
		}
		return cmp.Or(writeJSON(p.stdout, answers), c.unanswered(answers))
	}
	if len(answers) == 0 {
		return errors.New("no node answered: are issuers and API nodes running, on this NATS?")
	}
	if err := printStatus(p, answers); err != nil {
		return err
	}
	return cmp.Or(c.unanswered(answers), disagreement(answers))
}

// ask asks who is there, and once more for who is expected and slow.
func (c *statusCmd) ask(ctx context.Context, conn *nats.Conn) (answers []events.Answer, err error) {
	// A statement that is being applied is in the digest before it is in the sequence: only what stays is a disagreement.
	for range 5 {
		if answers, err = events.AskFleet(ctx, conn, events.Question{Quiet: c.Quiet}); err != nil {
			return nil, err
		}
		if disagreement(answers) == nil {
			break
		}
	}
	late := c.missing(answers)
	if len(late) == 0 {
		return answers, nil
	}
	more, err := events.AskFleet(ctx, conn, events.Question{Expect: late, Quiet: max(c.Quiet, time.Second)})
	for _, a := range more {
		if slices.Contains(late, a.Node) {
			answers = append(answers, a)
		}
	}
	return answers, err
}

// disagreement is an error if nodes that have applied the same part of the stream hold different statements.
func disagreement(answers []events.Answer) error {
	for n, a := range answers {
		for _, b := range answers[:n] {
			if a.Disagree(b.Report) {
				return fmt.Errorf("%s and %s have applied the same sequence and hold different statements: stop the one whose digest differs from the others' and that has fewer entries (quash status --json), move its snapshot away, start it, and keep its log",
					printable(b.Node), printable(a.Node))
			}
		}
	}
	return nil
}

func printStatus(p *program, answers []events.Answer) error {
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tROLE\tREADY\tSTALENESS\tBOUND\tSEQUENCE\tENTRIES\tUPTIME\tVERSION\tPROBLEM")
	for _, a := range answers {
		staleness := "not synced"
		if a.Synced {
			staleness = seconds(a.Staleness)
		}
		bound := "-"
		if a.MaxStaleness > 0 {
			bound = a.MaxStaleness.String() + " " + printable(a.OnStale)
		}
		ready := "no"
		if a.Ready {
			ready = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", printable(a.Node), printable(a.Role), ready, staleness, bound,
			a.Sequence, strconv.Itoa(a.Entries), a.Uptime.Round(time.Second), printable(a.Version), cmp.Or(plain(oneLine(a.Error)), "-"))
	}
	return w.Flush()
}
