package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"
)

// sessionsCmd is "quash sessions".
type sessionsCmd struct {
	List sessionsListCmd `cmd:"" help:"List the living sessions of a user or a client."`
	End  sessionsEndCmd  `cmd:"" help:"End one session, or those of a user, of a client, or of everybody; or take a signing key out of use."`
}

// sessionsListCmd is "quash sessions list". What it selects by is read from the command line only: QUASH_USER means something else.
type sessionsListCmd struct {
	User   string `env:"-" placeholder:"NAME" help:"Of the user with this name."`
	Sub    string `env:"-" placeholder:"SUB" help:"Of the user with this sub."`
	Client string `env:"-" placeholder:"ID" help:"Of this client; with --user or --sub: of the user at the client."`
	JSON   bool   `name:"json" help:"One JSON object per line."`

	adminFlags `embed:""`
}

// listedSession is what the issuer says about one.
type listedSession struct {
	Sid         string `json:"sid"`
	Sub         string `json:"sub"`
	Client      string `json:"client_id"`
	Auth        int64  `json:"auth_time"`
	LastRefresh int64  `json:"last_refresh,omitempty"`
	IdleEnds    int64  `json:"idle_expires_in"`
	SessionEnds int64  `json:"session_expires_in"`
	Agent       string `json:"agent,omitempty"`
}

type sessionsPage struct {
	Sub      string          `json:"sub"`
	Sessions []listedSession `json:"sessions"`
	Next     string          `json:"next"`
}

func (c *sessionsListCmd) Run(p *program) error {
	query := url.Values{}
	for name, value := range map[string]string{"username": c.User, "sub": c.Sub, "client_id": c.Client} {
		if value != "" {
			query.Set(name, value)
		}
	}
	switch {
	case len(query) == 0:
		return usagef("--user", "is missing: say whose sessions, with --user NAME, --sub SUB or --client ID")
	case c.User != "" && c.Sub != "":
		return usagef("--user", "and --sub are two ways to name a user: give one")
	}
	return c.session(func(ctx context.Context, a *adminClient) error { return c.list(ctx, a, p, query) })
}

func (c *sessionsListCmd) list(ctx context.Context, a *adminClient, p *program, query url.Values) error {
	query.Set("limit", "1000")
	show, done := c.table(p.stdout)
	if c.JSON {
		show, done = func(s listedSession) error { return writeJSON(p.stdout, s) }, func() error { return nil }
	}
	for {
		var page sessionsPage
		if err := a.do(ctx, http.MethodGet, "/admin/sessions", query, nil, &page); err != nil {
			return advise(err, http.StatusNotFound, "quash user list shows all")
		}
		for _, s := range page.Sessions {
			if err := show(s); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return done()
		}
		query.Set("cursor", page.Next)
	}
}

func (c *sessionsListCmd) table(out io.Writer) (show func(listedSession) error, done func() error) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	n := 0
	show = func(s listedSession) error {
		if n++; n == 1 {
			fmt.Fprintln(w, "SESSION\tSUB\tCLIENT\tLOGIN\tLAST REFRESH\tIDLE ENDS IN\tENDS IN\tAGENT")
		}
		_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", printable(s.Sid), printable(s.Sub), printable(s.Client), second(s.Auth), second(s.LastRefresh),
			life(s.IdleEnds), life(s.SessionEnds), harmless(s.Agent))
		return err
	}
	return show, func() error {
		if n == 0 {
			fmt.Fprintln(w, "no living session")
		}
		return w.Flush()
	}
}

func second(unix int64) string {
	if unix == 0 {
		return "never"
	}
	return time.Unix(unix, 0).UTC().Format(time.RFC3339)
}

func life(seconds int64) string { return (time.Duration(seconds) * time.Second).String() }
