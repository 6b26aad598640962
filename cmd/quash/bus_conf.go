package main

import (
	"fmt"
	"slices"
	"strings"
)

// usersConf is the accounts of the users, for a NATS configuration to include.
//
// NATS checks what a user publishes and not where the answer is to go: whoever is in the
// account of a stream can have the server send its answer to any subject there, an order to
// delete the stream among them. So the streams are in accounts where nobody is but an operator
// (or the records' user), and everybody else is in an account of its own, into which
// only what its role needs is imported: an answer cannot leave it.
func usersConf(users []busUser) string {
	c := &conf{}
	c.line("# Made by \"quash nats init\", anew at each run: change the users there. It holds public keys only.")
	c.open("accounts {")
	c.open(streamAccount + " {")
	c.line("jetstream: enabled")
	c.users(users, streamAccount)
	c.open("exports: [")
	for _, s := range services() {
		c.line("{service: %q, response_type: %s}", s, responseOf(s))
	}
	c.line("{stream: %q}", liveSubjects)
	c.close("]")
	c.open("imports: [")
	for _, u := range users {
		for _, q := range u.role.answers {
			c.line("{service: {account: %q, subject: %q}}", u.account(), q)
		}
	}
	c.close("]")
	c.close("}")
	c.open(recordsAccount + " {")
	c.line("jetstream: enabled")
	c.users(users, recordsAccount)
	c.close("}")
	for _, u := range users {
		if u.role.account == "" {
			c.account(u)
		}
	}
	c.line("SYS {}")
	c.close("}")
	c.line("system_account: SYS")
	return c.text.String()
}

const (
	liveSubjects = "quash.live.>"
	fleetSubject = "quash.v1.fleet"
	wholeSubject = "quash.v1.whole"
)

// around is the name of a subject of the API in the account of one user.
func around(subject string) string {
	if rest, ok := strings.CutPrefix(subject, "$JS.API."); ok {
		return "quash.api." + rest
	}
	return subject
}

// services are what the account of the stream offers to the others.
func services() []string {
	var all []string
	for _, r := range busRoles {
		if r.account != "" {
			continue
		}
		for _, s := range r.publish {
			all = append(all, strings.NewReplacer("READER", "*", "SLOT", "*").Replace(s))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// responseOf says whether one question has one answer or several.
func responseOf(service string) string {
	if service == fleetSubject || service == wholeSubject || strings.Contains(service, ".MSG.NEXT.") {
		return "stream"
	}
	return "single"
}

// conf is a NATS configuration in the making.
type conf struct {
	text  strings.Builder
	depth int
}

func (c *conf) line(format string, args ...any) {
	c.text.WriteString(strings.Repeat("\t", c.depth))
	fmt.Fprintf(&c.text, format+"\n", args...)
}

func (c *conf) open(text string)  { c.line("%s", text); c.depth++ }
func (c *conf) close(text string) { c.depth--; c.line("%s", text) }

// account is that of one user alone.
func (c *conf) account(u busUser) {
	c.open(fmt.Sprintf("%q: {", u.account()))
	c.users([]busUser{u}, u.account())
	c.open("exports: [")
	for _, q := range u.role.answers {
		c.line("{service: %q, response_type: stream, accounts: [%s]}", q, streamAccount)
	}
	c.close("]")
	// The API of this account itself would answer as well, that it has no streams: go around it.
	c.open("mappings: {")
	for _, s := range u.filled(u.role.publish) {
		if a := around(s); a != s {
			c.line("%q: %q", s, strings.Replace(a, "*", "{{wildcard(1)}}", 1))
		}
	}
	c.close("}")
	c.open("imports: [")
	for _, s := range u.filled(u.role.publish) {
		c.line("{service: {account: %s, subject: %q}, to: %q}", streamAccount, s, around(s))
	}
	if slices.Contains(u.role.subscribe, liveSubjects) {
		c.line("{stream: {account: %s, subject: %q}}", streamAccount, liveSubjects)
	}
	c.close("]")
	c.close("}")
}

// users are those of one account.
func (c *conf) users(users []busUser, account string) {
	c.open("users: [")
	for _, u := range users {
		if u.account() != account {
			continue
		}
		c.open("{")
		c.line("# %s %s: %s", u.role.name, u.name, u.role.why)
		c.line("nkey: %s", u.public)
		c.open("permissions: {")
		publish := u.filled(u.role.publish)
		if u.role.account == "" { // asked about what a mapping has made of it
			for i := range publish {
				publish[i] = around(publish[i])
			}
		}
		c.subjects("publish", publish)
		c.subjects("subscribe", u.filled(u.role.subscribe))
		if len(u.role.answers) > 0 {
			c.line(`allow_responses: {max: 1, expires: "1m"}`)
		}
		c.close("}")
		c.close("}")
	}
	c.close("]")
}

func (c *conf) subjects(name string, all []string) {
	c.open(name + ": [")
	for _, s := range all {
		c.line("%q", s)
	}
	c.close("]")
}
