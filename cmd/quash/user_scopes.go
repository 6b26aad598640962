package main

import (
	"fmt"
	"net/http"
	"strings"
)

// userScopesCmd is "quash user scopes". Without a change it only says what there is.
type userScopesCmd struct {
	userFlags
	Set    *string  `env:"-" placeholder:"SCOPES" help:"All that the user may do from now on, with spaces or commas between; '' for nothing."`
	Add    []string `env:"-" placeholder:"SCOPE" help:"What the user may do as well, from the next login on; may be repeated."`
	Remove []string `env:"-" placeholder:"SCOPE" help:"What the user may do no more, at once: all sessions end; may be repeated."`
}

func (c *userScopesCmd) Run(p *program) error {
	body := map[string]any{}
	if c.Set != nil {
		body["scopes"] = scopeList(*c.Set)
	}
	if len(c.Add) > 0 {
		body["add"] = scopeList(c.Add...)
	}
	if len(c.Remove) > 0 {
		body["remove"] = scopeList(c.Remove...)
	}
	switch {
	case len(body) == 0:
		return c.ask(p, http.MethodGet, "", nil, "")
	case c.Set != nil && len(body) > 1:
		return usagef("--set", "says all that the user has, so --add and --remove say nothing: give one or the other")
	}
	return c.change(p, "scopes", body, "")
}

// scopeList takes "read write" and "read,write" for two: a scope has no space, and no comma on a command line.
func scopeList(given ...string) []string {
	separate := func(r rune) bool { return r == ' ' || r == ',' }
	return append([]string{}, strings.FieldsFunc(strings.Join(given, " "), separate)...)
}

// can is what the user may do, in words.
func (u listedUser) can() string {
	if len(u.Scopes) == 0 {
		return "no scopes"
	}
	return fmt.Sprintf("scopes %s", harmless(strings.Join(u.Scopes, " ")))
}
