package main

import (
	"context"
	"net/http"
	"net/url"
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

func (p sessionsPage) cursor() string { return p.Next }

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
	l := newList(p.stdout, c.JSON, "SESSION", "SUB", "CLIENT", "LOGIN", "LAST REFRESH", "IDLE ENDS IN", "ENDS IN", "AGENT")
	l.none = "no living session"
	return c.session(func(ctx context.Context, a *adminClient) error {
		err := eachPage(ctx, a, "/admin/sessions", query, func(page sessionsPage) error {
			for _, s := range page.Sessions {
				if err := l.add(s, printable(s.Sid), printable(s.Sub), printable(s.Client), second(s.Auth), second(s.LastRefresh),
					life(s.IdleEnds), life(s.SessionEnds), harmless(s.Agent)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return advise(err, http.StatusNotFound, "quash user list shows all")
		}
		return l.end()
	})
}

func second(unix int64) string {
	if unix == 0 {
		return "never"
	}
	return time.Unix(unix, 0).UTC().Format(time.RFC3339)
}

func life(seconds int64) string { return (time.Duration(seconds) * time.Second).String() }
