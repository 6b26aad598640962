package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
)

// sessionsEndCmd is "quash sessions end". What it ends is read from the command line only.
type sessionsEndCmd struct {
	SID string `arg:"" optional:"" help:"The session to end."`

	User     string        `env:"-" placeholder:"NAME" help:"All sessions of the user with this name."`
	Sub      string        `env:"-" placeholder:"SUB" help:"All sessions of the user with this sub."`
	Client   string        `env:"-" placeholder:"ID" help:"All sessions at this client."`
	KID      string        `env:"-" name:"kid" placeholder:"KID" help:"No session, but all access tokens signed with this key; the key is out of use from then on."`
	Everyone bool          `env:"-" help:"All sessions of the issuer."`
	Reason   string        `env:"-" help:"For the audit trail; the user never sees it. Required for --client, --kid and --everyone."`
	Txn      string        `env:"-" help:"Ties this to a case or a request, for the audit trail (default: random)."`
	DryRun   bool          `env:"-" help:"Only say what it would end."`
	Confirm  *string       `env:"-" placeholder:"KEY" help:"The client, key or (for --everyone) issuer URL once more; on a terminal you are asked instead."`
	Wait     time.Duration `default:"0s" help:"Wait so long for every node to say that it enforces this; needs --nats (${default}: do not ask)."`
	JSON     bool          `name:"json" help:"Print one JSON object."`

	expectFlag `embed:""`
	adminFlags `embed:""`
	natsFlags  `embed:""`
}

// target is what the command line names.
func (c *sessionsEndCmd) target() (scope events.Scope, key string, err error) {
	n := 0
	for _, t := range []struct {
		given bool
		scope events.Scope
		key   string
	}{
		{c.SID != "", events.Session, c.SID}, {c.User != "", events.Subject, ""}, {c.Sub != "", events.Subject, c.Sub},
		{c.Client != "", events.Client, c.Client}, {c.KID != "", events.Key, c.KID}, {c.Everyone, events.Issuer, ""},
	} {
		if t.given {
			n, scope, key = n+1, t.scope, t.key
		}
	}
	switch {
	case n != 1:
		err = usagef("SID", "name one thing to end: SID, --user NAME, --sub SUB, --client ID, --kid KID or --everyone")
	case c.Wait < 0:
		err = usagef("--wait", "%v is negative", c.Wait)
	case strings.TrimSpace(c.Reason) == "" && scope != events.Session && scope != events.Subject && !c.DryRun:
		err = usagef("--reason", "is missing: it says in the audit trail why more than one user was concerned")
	}
	return scope, key, cmp.Or(err, c.check())
}

// order is the body of POST /admin/revocations.
type order struct {
	Scope   string `json:"scope"`
	Key     string `json:"key,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Txn     string `json:"txn,omitempty"`
	DryRun  bool   `json:"dry_run,omitempty"`
	Confirm string `json:"confirm,omitempty"`
}

// foreseen is the issuer's preview.
type foreseen struct {
	Scope    string         `json:"scope"`
	Key      string         `json:"key,omitempty"`
	Sessions int            `json:"sessions"`
	Exact    bool           `json:"exact"`
	Clients  map[string]int `json:"clients"`
	Signing  *bool          `json:"signing,omitempty"`
	Note     string         `json:"note,omitempty"`
}

// endedJSON is what quash sessions end --json prints.
type endedJSON struct {
	ID       string          `json:"id,omitempty"`
	Sequence uint64          `json:"sequence,omitempty"`
	Txn      string          `json:"txn,omitempty"`
	Preview  foreseen        `json:"preview"`
	Receipt  *events.Receipt `json:"receipt,omitempty"`
}

func (c *sessionsEndCmd) Run(p *program) error {
	scope, key, err := c.target()
	if err := cmp.Or(err, c.needs(c.Wait, p.args)); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var conn *nats.Conn
	if c.Wait > 0 && !c.DryRun { // before anything is done
		if conn, err = c.connectNow(ctx, "quash-sessions", p.logger("error")); err != nil {
			return err
		}
		defer conn.Close()
	}
	a, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	if c.User != "" {
		if key, err = a.sub(ctx, c.User); err != nil {
			return err
		}
	}
	o := order{Scope: scope.String(), Key: key, Reason: c.Reason, Txn: c.Txn}
	out := endedJSON{}
	preview := o
	preview.DryRun = true
	if err := a.do(ctx, http.MethodPost, "/admin/revocations", nil, preview, &out.Preview); err != nil {
		return err
	}
	if !c.JSON {
		if _, err := fmt.Fprintln(p.stdout, out.Preview); err != nil {
			return err
		}
	}
	if c.DryRun {
		return c.print(p, out)
	}
	iss := ""
	if scope == events.Issuer || conn != nil {
		if iss, err = a.iss(ctx); err != nil {
			return err
		}
	}
	if o.Confirm, err = c.confirm(p, scope, cmp.Or(key, iss)); err != nil {
		return err
	}
	revoke := func(ctx context.Context) (events.Ack, error) {
		err := a.do(ctx, http.MethodPost, "/admin/revocations", nil, o, &out)
		return events.Ack{ID: out.ID, Sequence: out.Sequence}, err
	}
	if conn == nil {
		if _, err := revoke(ctx); err != nil {
			return err
		}
		return c.print(p, out)
	}
	limited, cancel := context.WithTimeout(ctx, 20*time.Second+c.Wait)
	defer cancel()
	receipt, err := events.WaitReceipt(limited, conn, c.Wait, revoke, c.Expect...)
	if err != nil {
		return err
	}
	out.Receipt = &receipt
	if err := c.print(p, out); err != nil {
		return err
	}
	return unconfirmed(iss, receipt, c.Wait)
}

// confirm is the key as the issuer wants to see it a second time.
func (c *sessionsEndCmd) confirm(p *program, scope events.Scope, key string) (string, error) {
	if scope == events.Session || scope == events.Subject {
		named := cmp.Or(c.User, key)
		return "", p.confirmNarrow("End this?", named, c.Confirm)
	}
	what := map[events.Scope]string{events.Client: "--client", events.Key: "--kid", events.Issuer: "--everyone"}[scope]
	return key, p.confirmWide(what, key, c.Confirm)
}

// sub finds the subject of a name.
func (a *adminClient) sub(ctx context.Context, name string) (string, error) {
	var page sessionsPage
	err := a.do(ctx, http.MethodGet, "/admin/sessions", url.Values{"username": {name}, "limit": {"1"}}, nil, &page)
	if refused := (*adminError)(nil); errors.As(err, &refused) && refused.status == http.StatusNotFound {
		return "", fmt.Errorf("no user has the name %s: quash user list shows all", printable(name))
	}
	if err == nil && page.Sub == "" {
		err = a.stranger()
	}
	return page.Sub, err
}

// iss is what the issuer calls itself; it may be reached under another URL.
func (a *adminClient) iss(ctx context.Context) (string, error) {
	var metadata struct {
		Issuer string `json:"issuer"`
	}
	err := a.do(ctx, http.MethodGet, "/.well-known/openid-configuration", nil, nil, &metadata)
	if err == nil && metadata.Issuer == "" {
		err = a.stranger()
	}
	return metadata.Issuer, err
}

// String is the preview in a sentence.
func (f foreseen) String() string {
	var b strings.Builder
	if f.Note == "" {
		most := ""
		if !f.Exact {
			most = "at most "
		}
		plural := "s"
		if f.Sessions == 1 {
			plural = ""
		}
		fmt.Fprintf(&b, "%s%d living session%s", most, f.Sessions, plural)
		for n, id := range slices.Sorted(maps.Keys(f.Clients)) {
			sep := ", "
			if n == 0 {
				sep = ": "
			}
			fmt.Fprintf(&b, "%s%d at %s", sep, f.Clients[id], printable(id))
		}
		return b.String()
	}
	return harmless(f.Note)
}

func (c *sessionsEndCmd) print(p *program, out endedJSON) error {
	switch {
	case c.JSON:
		return writeJSON(p.stdout, out)
	case c.DryRun:
		_, err := fmt.Fprintln(p.stdout, "nothing was done")
		return err
	}
	if _, err := fmt.Fprintf(p.stdout, "ended: sequence %d, id %s, txn %s\n", out.Sequence, printable(out.ID), printable(out.Txn)); err != nil {
		return err
	}
	if out.Receipt == nil {
		return nil
	}
	_, err := fmt.Fprintln(p.stdout, out.Receipt)
	return err
}
