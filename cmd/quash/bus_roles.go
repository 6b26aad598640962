package main

import (
	"fmt"
	"strings"
)

// busRole is what one kind of NATS user may do, and nothing else. INBOX and READER stand
// for the names that each user has for itself, so that no node listens to the answers or
// touches the reader of another.
type busRole struct {
	name, account      string
	publish, subscribe []string
	answers            bool // may answer whoever asks it
	why                string
}

const (
	streamAccount  = "QUASH"
	recordsAccount = "RECORDS"
)

// follow is what reading the stream, proving freshness and answering for oneself takes.
var follow = []string{
	"quash.v1.beacon",
	"$JS.API.STREAM.INFO.QUASH",
	"$JS.API.CONSUMER.CREATE.QUASH.READER",
	"$JS.API.CONSUMER.MSG.NEXT.QUASH.READER",
	"$JS.API.CONSUMER.INFO.QUASH.READER",
	"$JS.API.CONSUMER.DELETE.QUASH.READER",
}

// busRoles are the roles of deploy/nats/nats.conf; there all nodes of a role are one user.
var busRoles = []busRole{
	{name: "operator", account: streamAccount, why: "creates and changes the streams, looks at everything",
		publish:   []string{"$JS.API.>", "quash.v1.session-revoked.*", "quash.v1.fleet"},
		subscribe: []string{"INBOX.>", "quash.live.>"}},
	{name: "publisher", account: streamAccount, why: "revokes, and asks who enforces it",
		publish:   []string{"quash.v1.session-revoked.*", "quash.v1.fleet", "$JS.API.STREAM.INFO.QUASH"},
		subscribe: []string{"INBOX.>"}},
	{name: "verifier", account: streamAccount, answers: true, why: "an API node: follows, proves freshness, uses up one-time tokens; can not revoke",
		publish:   append([]string{"quash.v1.once.*", "$JS.API.STREAM.INFO.QUASH_ONCE", "$JS.API.STREAM.MSG.GET.QUASH_ONCE"}, follow...),
		subscribe: []string{"INBOX.>", "quash.live.>", "quash.v1.fleet"}},
	{name: "issuer", account: streamAccount, answers: true, why: "follows like a verifier, and publishes",
		publish:   append([]string{"quash.v1.session-revoked.*"}, follow...),
		subscribe: []string{"INBOX.>", "quash.live.>", "quash.v1.fleet"}},
	{name: "records", account: recordsAccount, why: "the issuer's users and sessions; may neither delete nor purge them",
		publish: []string{
			"$KV.QUASH_ISSUER.>",
			"$JS.API.STREAM.CREATE.KV_QUASH_ISSUER",
			"$JS.API.STREAM.INFO.KV_QUASH_ISSUER",
			"$JS.API.STREAM.MSG.GET.KV_QUASH_ISSUER",
			"$JS.API.DIRECT.GET.KV_QUASH_ISSUER.>",
			"$JS.API.CONSUMER.CREATE.KV_QUASH_ISSUER.>",
			"$JS.API.CONSUMER.INFO.KV_QUASH_ISSUER.*",
			"$JS.API.CONSUMER.DELETE.KV_QUASH_ISSUER.*",
			"$JS.FC.KV_QUASH_ISSUER.>",
			"$KV.QUASH_THROTTLE.>",
			"$JS.API.STREAM.CREATE.KV_QUASH_THROTTLE",
			"$JS.API.STREAM.INFO.KV_QUASH_THROTTLE",
			"$JS.API.STREAM.MSG.GET.KV_QUASH_THROTTLE",
			"$JS.API.DIRECT.GET.KV_QUASH_THROTTLE.>",
		},
		subscribe: []string{"INBOX.>"}},
}

func busRoleNamed(name string) *busRole {
	for i := range busRoles {
		if busRoles[i].name == name {
			return &busRoles[i]
		}
	}
	return nil
}

// busUser is one NATS user: a role and a name of its own.
type busUser struct {
	role   *busRole
	name   string
	public string // nkey
}

func (u busUser) inbox() string { return "_INBOX_" + u.name }
func (u busUser) seed() string  { return u.role.name + "." + u.name + ".nk" }

// filled puts the user's own names in place of INBOX and READER.
func (u busUser) filled(subjects []string) []string {
	all := make([]string, len(subjects))
	for i, s := range subjects {
		if s == "INBOX.>" {
			s = u.inbox() + ".>"
		}
		if rest, ok := strings.CutSuffix(s, ".READER"); ok {
			s = rest + "." + u.name
		}
		all[i] = s
	}
	return all
}

// usersConf is the accounts of the users, for a NATS configuration to include.
func usersConf(users []busUser) string {
	var b strings.Builder
	b.WriteString("# Made by \"quash nats init\", anew at each run: change the users there. It holds public keys only.\naccounts {\n")
	for _, account := range []string{streamAccount, recordsAccount} {
		fmt.Fprintf(&b, "\t%s {\n\t\tjetstream: enabled\n\t\tusers: [\n", account)
		for _, u := range users {
			if u.role.account != account {
				continue
			}
			fmt.Fprintf(&b, "\t\t\t{\n\t\t\t\t# %s %s: %s\n\t\t\t\tnkey: %s\n\t\t\t\tpermissions: {\n", u.role.name, u.name, u.role.why, u.public)
			list(&b, "publish", u.filled(u.role.publish))
			list(&b, "subscribe", u.filled(u.role.subscribe))
			if u.role.answers {
				b.WriteString("\t\t\t\t\tallow_responses: {max: 1, expires: \"1m\"}\n")
			}
			b.WriteString("\t\t\t\t}\n\t\t\t}\n")
		}
		b.WriteString("\t\t]\n\t}\n")
	}
	b.WriteString("\tSYS {}\n}\nsystem_account: SYS\n")
	return b.String()
}

func list(b *strings.Builder, name string, subjects []string) {
	fmt.Fprintf(b, "\t\t\t\t\t%s: [\n", name)
	for _, s := range subjects {
		fmt.Fprintf(b, "\t\t\t\t\t\t%q\n", s)
	}
	b.WriteString("\t\t\t\t\t]\n")
}
