package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/quash-auth/quash/events"
)

// revokeCmd is "quash revoke".
type revokeCmd struct {
	Scope string `arg:"" help:"What KEY names: token (its jti), session (sid), subject (sub), client (client_id), key (kid), or issuer (no KEY: all its tokens)."`
	Key   string `arg:"" optional:"" help:"The value of that claim; for subject the sub, which is not the name to log in with: quash sessions end --user NAME finds it."`

	ISS     string        `name:"iss" default:"${default_iss}" placeholder:"URL" help:"iss of the tokens concerned (${default})."`
	Before  *string       `placeholder:"TIME" help:"Cover tokens issued at or before this: RFC 3339, or a duration ago, 5m for five minutes ago (default: now; for key: all its tokens, whenever issued). Not for token and session."`
	Until   *string       `placeholder:"TIME" help:"When no covered token can be alive any more: RFC 3339, or a duration from now (default: what the stream was made for)."`
	Gen     uint64        `help:"For subject: cover tokens whose gen is smaller."`
	Reason  string        `help:"For the audit trail; the bearer never sees it."`
	Actor   string        `help:"Who decided, for the audit trail."`
	By      string        `default:"admin" enum:"admin,user,policy,system" help:"What kind of actor: ${enum} (${default})."`
	Txn     string        `help:"Ties this revocation to a case or a request, for the audit trail."`
	ID      string        `help:"Publishing the same ID again within two minutes is harmless (default: random)."`
	Confirm *string       `env:"-" placeholder:"KEY" help:"For client, key and issuer: KEY (for issuer: the --iss) once more; on a terminal you are asked instead."`
	Wait    time.Duration `default:"0s" help:"Wait so long for every node to say that it enforces this (${default}: do not ask)."`
	JSON    bool          `name:"json" help:"Print one JSON object."`

	expectFlag `embed:""`
	natsFlags  `embed:""`
}

// revocation checks the command line and turns it into a statement.
func (c *revokeCmd) revocation(now time.Time) (events.Revocation, error) {
	scope, err := events.ParseScope(c.Scope)
	if err != nil {
		return events.Revocation{}, usagef("SCOPE", "%q is none of token, session, subject, client, key, issuer", c.Scope)
	}
	switch {
	case scope == events.Issuer && c.Key != "":
		return events.Revocation{}, usagef("KEY", "is not for scope issuer: name the issuer with --iss")
	case scope != events.Issuer && c.Key == "":
		return events.Revocation{}, usagef("KEY", "is missing: quash revoke %s KEY", scope)
	case c.ISS == "":
		return events.Revocation{}, usagef("--iss", "is empty: name the iss of the tokens concerned")
	case c.Wait < 0:
		return events.Revocation{}, usagef("--wait", "%v is negative", c.Wait)
	}
	if err := c.check(); err != nil {
		return events.Revocation{}, err
	}
	r := events.Revocation{
		ID: c.ID, Issuer: c.ISS, Scope: scope, Key: c.Key, Gen: c.Gen,
		By: c.By, Actor: c.Actor, Reason: c.Reason, Txn: c.Txn,
	}
	if r.Before, err = before("--before", c.Before, now); err != nil {
		return events.Revocation{}, err
	}
	if r.Until, err = until("--until", c.Until, now); err != nil {
		return events.Revocation{}, err
	}
	if !r.Until.IsZero() && !r.Until.After(now) {
		return events.Revocation{}, usagef("--until", "%s is not in the future", *c.Until)
	}
	return r, c.precheck(r, now)
}

// precheck finds what is wrong whatever the stream says, before anybody is asked.
func (c *revokeCmd) precheck(r events.Revocation, now time.Time) error {
	if r.ID == "" {
		r.ID = events.NewID()
	}
	r.At = now
	if r.Before.IsZero() && (r.Scope == events.Subject || r.Scope == events.Client || r.Scope == events.Issuer) {
		r.Before = now // of this copy: the publisher fills the statement's own
	}
	if r.Until.IsZero() {
		r.Until = now.Add(events.DefaultMaxTokenLife)
	}
	r.Before, r.Until = r.Before.Truncate(time.Second), r.Until.Truncate(time.Second).Add(time.Second)
	if err := r.Validate(now); err != nil {
		return c.failed(err)
	}
	return nil
}

func (c *revokeCmd) Run(p *program) error {
	r, err := c.revocation(time.Now())
	if err := cmp.Or(err, c.needs(c.Wait, p.args)); err != nil {
		return err
	}
	if err := c.confirmed(p, r); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	conn, err := c.connectNow(ctx, "quash-revoke", p.logger("error"))
	if err != nil {
		return err
	}
	defer conn.Close()
	publisher, err := events.NewPublisher(events.PublisherConfig{Conn: conn, By: c.By})
	if err != nil {
		return fmt.Errorf("preparing the publication: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, 10*time.Second+c.Wait)
	defer cancel()
	if r, err = publisher.Complete(limited, r); err != nil {
		return c.failed(err)
	}
	if c.Wait == 0 {
		ack, err := publisher.Publish(limited, r)
		if err != nil {
			return c.failed(err)
		}
		return c.print(p, r, ack.Sequence, nil)
	}
	receipt, err := events.RevokeAndWait(limited, conn, publisher, r, c.Wait, c.Expect...)
	if err != nil {
		return c.failed(err)
	}
	if err := c.print(p, r, receipt.Sequence, &receipt); err != nil {
		return err
	}
	return unconfirmed(r.Issuer, receipt, c.Wait)
}

// confirmed: what concerns more than one user takes a reason, and the key twice.
func (c *revokeCmd) confirmed(p *program, r events.Revocation) error {
	if r.Scope != events.Client && r.Scope != events.Key && r.Scope != events.Issuer {
		return nil
	}
	if strings.TrimSpace(r.Reason) == "" {
		return usagef("--reason", "is missing: it says in the audit trail why more than one user was concerned")
	}
	return p.confirmWide("scope "+r.Scope.String(), cmp.Or(r.Key, r.Issuer), c.Confirm)
}

// unconfirmed is an error if some node did not say that it enforces the
// revocation, which is stored all the same.
func unconfirmed(iss string, receipt events.Receipt, wait time.Duration) error {
	if strangers(iss, receipt.Answered) {
		return fmt.Errorf("stored, but no node that answered accepts tokens of %s: is that the right issuer? quash status --json lists what they accept", printable(iss))
	}
	if len(receipt.Silent) > 0 {
		names := make([]string, len(receipt.Silent))
		for i, s := range receipt.Silent {
			names[i] = s.Node
		}
		return fmt.Errorf("stored, but not confirmed within %v by %s: repeat the command, or look at quash status --expect with these names", wait, strings.Join(names, ", "))
	}
	if len(receipt.Answered) == 0 {
		return errors.New("stored, but no node answered: are the API nodes running, on the same NATS? See quash status")
	}
	return nil
}

// strangers reports whether nodes answered and none of them judges tokens of iss.
// One that does not say what it judges may be an older version.
func strangers(iss string, answered []events.Answer) bool {
	for _, a := range answered {
		if len(a.Issuers) == 0 || slices.Contains(a.Issuers, iss) {
			return false
		}
	}
	return len(answered) > 0
}

// failed sorts the errors of events into wrong input and the rest.
func (c *revokeCmd) failed(err error) error {
	if field := (*events.FieldError)(nil); errors.As(err, &field) {
		return usagef(revokeFlag(field.Field), "%s", field.Problem)
	}
	if errors.Is(err, events.ErrUnavailable) {
		return fmt.Errorf("it is not known whether the revocation was stored; to repeat the command does no harm: %w", err)
	}
	return fmt.Errorf("the revocation was not published: %w", err)
}

// revokeFlag is what the user typed for a field of a revocation.
func revokeFlag(field string) string {
	switch f := strings.ToLower(field); f {
	case "issuer", "iss":
		return "--iss"
	case "scope", "key":
		return strings.ToUpper(f)
	default:
		return "--" + f
	}
}

// published is the JSON that quash revoke prints.
type published struct {
	ID       string          `json:"id"`
	Sequence uint64          `json:"sequence"`
	ISS      string          `json:"iss"`
	Scope    string          `json:"scope"`
	Key      string          `json:"key,omitempty"`
	Before   *time.Time      `json:"before,omitempty"`
	Gen      uint64          `json:"gen,omitempty"`
	Until    time.Time       `json:"until"`
	Receipt  *events.Receipt `json:"receipt,omitempty"`
}

func (c *revokeCmd) print(p *program, r events.Revocation, seq uint64, receipt *events.Receipt) error {
	if c.JSON {
		out := published{ID: r.ID, Sequence: seq, ISS: r.Issuer, Scope: r.Scope.String(), Key: r.Key, Gen: r.Gen, Until: r.Until.UTC(), Receipt: receipt}
		if !r.Before.IsZero() {
			before := r.Before.UTC()
			out.Before = &before
		}
		return writeJSON(p.stdout, out)
	}
	what := r.Scope.String()
	if r.Key != "" {
		what += " " + printable(r.Key)
	}
	if _, err := fmt.Fprintf(p.stdout, "revoked %s of %s: sequence %d, id %s, kept until %s\n",
		what, printable(r.Issuer), seq, r.ID, r.Until.UTC().Format(time.RFC3339)); err != nil {
		return err
	}
	if receipt == nil {
		return nil
	}
	_, err := fmt.Fprintln(p.stdout, receipt)
	return err
}
