package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// userCmd is "quash user".
type userCmd struct {
	Add     userAddCmd     `cmd:"" help:"Create an account."`
	List    userListCmd    `cmd:"" help:"List the accounts, in the order of their names."`
	Disable userDisableCmd `cmd:"" help:"Bar a user from login and refresh, and end all sessions, everywhere. The name stays taken: accounts are never deleted."`
	Enable  userEnableCmd  `cmd:"" help:"Let a user log in again. What was ended stays ended: only new tokens work."`
	Scopes  userScopesCmd  `cmd:"" help:"Say what a user may do, or change it. Whoever loses a scope is logged out, everywhere."`
	Passwd  userPasswdCmd  `cmd:"" help:"Give a user a new password, and end all sessions."`
}

// userFlags name a user and say why. They are read from the command line only: QUASH_USER means something else.
type userFlags struct {
	Name string `arg:"" optional:"" help:"Name of the user."`
	Sub  string `env:"-" placeholder:"SUB" help:"The user with this sub, instead of a name."`
	JSON bool   `name:"json" help:"Print one JSON object."`

	auditFlags `embed:""`
	adminFlags `embed:""`
}

// listedUser is what the issuer says about an account.
type listedUser struct {
	Sub      string   `json:"sub"`
	Name     string   `json:"username"`
	Scopes   []string `json:"scopes"`
	Disabled bool     `json:"disabled"`
	Created  int64    `json:"created"`
	ID       string   `json:"id,omitempty"`
	Sequence uint64   `json:"sequence,omitempty"`
	Txn      string   `json:"txn,omitempty"`
}

type usersPage struct {
	Users []listedUser `json:"users"`
	Next  string       `json:"next"`
}

func (p usersPage) cursor() string { return p.Next }

// ask calls an endpoint of the user, /admin/users/{sub} and what; done says what became of it, or is empty where the answer does.
func (f *userFlags) ask(p *program, method, what string, body any, done string) error {
	if (f.Name == "") == (f.Sub == "") {
		return usagef("NAME", "name one user, by NAME or by --sub SUB")
	}
	return f.session(func(ctx context.Context, a *adminClient) (err error) {
		sub := f.Sub
		if f.Name != "" {
			if sub, err = a.find(ctx, f.Name); err != nil {
				return err
			}
		}
		var u listedUser
		if err := a.do(ctx, method, "/admin/users/"+url.PathEscape(sub)+what, nil, body, &u); err != nil {
			return err
		}
		return f.print(p, u, done)
	})
}

func (f *userFlags) change(p *program, what string, body map[string]any, done string) error {
	f.into(body)
	return f.ask(p, http.MethodPost, "/"+what, body, done)
}

func (f *userFlags) print(p *program, u listedUser, done string) error {
	if f.JSON {
		return writeJSON(p.stdout, u)
	}
	if done == "" {
		done = u.can()
	}
	ended := ""
	if u.ID != "" {
		ended = fmt.Sprintf("; all sessions ended by statement %s, number %d", printable(u.ID), u.Sequence)
	}
	_, err := fmt.Fprintf(p.stdout, "%s (sub %s): %s%s\n", printable(u.Name), printable(u.Sub), done, ended)
	return err
}

// find gives the sub of a name.
func (a *adminClient) find(ctx context.Context, name string) (string, error) {
	var page usersPage
	if err := a.do(ctx, http.MethodGet, "/admin/users", url.Values{"username": {name}}, nil, &page); err != nil {
		return "", err
	}
	if len(page.Users) != 1 {
		return "", fmt.Errorf("no user has the name %s: quash user list shows all", printable(name))
	}
	return page.Users[0].Sub, nil
}

type userDisableCmd struct{ userFlags }

func (c *userDisableCmd) Run(p *program) error {
	return c.change(p, "disable", map[string]any{}, "disabled")
}

type userEnableCmd struct{ userFlags }

func (c *userEnableCmd) Run(p *program) error {
	return c.change(p, "enable", map[string]any{}, "enabled")
}

type userPasswdCmd struct {
	userFlags
	passwordFlags
}

func (c *userPasswdCmd) Run(p *program) error {
	password, err := c.password(p)
	if err != nil {
		return err
	}
	return c.change(p, "password", map[string]any{"password": password}, "new password")
}

type userAddCmd struct {
	userFlags
	passwordFlags
	Scope []string `env:"-" placeholder:"SCOPE" help:"A scope the user has; may be repeated."`
}

func (c *userAddCmd) Run(p *program) error {
	if c.Name == "" || c.Sub != "" {
		return usagef("NAME", "is missing: a new user has a name, and gets a sub")
	}
	password, err := c.password(p)
	if err != nil {
		return err
	}
	body := map[string]any{"username": c.Name, "password": password, "scopes": scopeList(c.Scope...)}
	c.into(body)
	return c.session(func(ctx context.Context, a *adminClient) error {
		var u listedUser
		if err := a.do(ctx, http.MethodPost, "/admin/users", nil, body, &u); err != nil {
			return advise(err, http.StatusConflict, "choose another (upper and lower case are the same; quash user list shows all)")
		}
		return c.print(p, u, "created")
	})
}

type userListCmd struct {
	JSON bool `name:"json" help:"One JSON object per line."`

	adminFlags `embed:""`
}

func (c *userListCmd) Run(p *program) error {
	l := newList(p.stdout, c.JSON, "NAME", "SUB", "STATE", "CREATED", "SCOPES")
	return c.session(func(ctx context.Context, a *adminClient) error {
		err := eachPage(ctx, a, "/admin/users", url.Values{}, func(page usersPage) error {
			for _, u := range page.Users {
				state := "enabled"
				if u.Disabled {
					state = "disabled"
				}
				if err := l.add(u, printable(u.Name), printable(u.Sub), state, second(u.Created), harmless(strings.Join(u.Scopes, " "))); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		return l.end()
	})
}
