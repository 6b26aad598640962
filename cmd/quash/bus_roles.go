package main

import (
	"cmp"
	"slices"
	"strings"

	"github.com/quash-auth/quash/events"
)

// busRole is what one kind of NATS user may do, and nothing else. INBOX and READER stand
// for the names that each user has for itself, so that no node listens to the answers or
// touches the reader of another. SLOT stands for each of the reading slots, which nodes share.
type busRole struct {
	name, account      string // account: where its user is; empty: in one of its own
	publish, subscribe []string
	answers            []string // questions that it answers to whoever asks
	shared             bool     // its user is for any number of processes, whose readers have random names
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

// slots is what taking a turn to read much takes; nothing is read through a slot.
var slots = []string{
	"$JS.API.CONSUMER.CREATE.QUASH.SLOT",
	"$JS.API.CONSUMER.MSG.NEXT.QUASH.SLOT",
	"$JS.API.CONSUMER.DELETE.QUASH.SLOT",
}

// verify is what an API node publishes.
var verify = slices.Concat([]string{"quash.v1.whole", "quash.v1.once.*", "$JS.API.STREAM.INFO.QUASH_ONCE", "$JS.API.STREAM.MSG.GET.QUASH_ONCE"}, follow, slots)

// busRoles are the roles of deploy/nats/nats.conf; there all nodes of a role are one user.
var busRoles = []busRole{
	{name: "operator", account: streamAccount, why: "creates and changes the streams, looks at everything",
		publish:   []string{"$JS.API.>", "quash.v1.session-revoked.*", "quash.v1.fleet"},
		subscribe: []string{"INBOX.>", "quash.live.>"}},
	{name: "publisher", why: "revokes, and asks who enforces it",
		publish:   []string{"quash.v1.session-revoked.*", "quash.v1.fleet", "$JS.API.STREAM.INFO.QUASH", "$JS.API.DIRECT.GET.QUASH"},
		subscribe: []string{"INBOX.>"}},
	{name: "verifier", answers: []string{fleetSubject}, why: "an API node: follows, proves freshness, uses up one-time tokens; can not revoke",
		publish:   verify,
		subscribe: []string{"INBOX.>", "quash.live.>", "quash.v1.fleet"}},
	{name: "verifiers", answers: []string{fleetSubject}, shared: true, why: "like verifier, for any number of nodes that then are not kept from each other",
		publish:   verify,
		subscribe: []string{"INBOX.>", "quash.live.>", "quash.v1.fleet"}},
	{name: "issuer", answers: []string{fleetSubject, wholeSubject}, why: "follows like a verifier, and publishes",
		publish:   append([]string{"quash.v1.session-revoked.*", "$JS.API.DIRECT.GET.QUASH"}, follow...),
		subscribe: []string{"INBOX.>", "quash.live.>", "quash.v1.fleet", "quash.v1.whole"}},
	{name: "records", account: recordsAccount, why: "the issuer's users and sessions",
		publish: []string{
			"$KV.QUASH_ISSUER.>",
			"$JS.API.STREAM.CREATE.KV_QUASH_ISSUER",
			"$JS.API.STREAM.INFO.KV_QUASH_ISSUER",
			"$JS.API.STREAM.MSG.GET.KV_QUASH_ISSUER",
			"$JS.API.DIRECT.GET.KV_QUASH_ISSUER",
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

func (u busUser) inbox() string   { return "_INBOX_" + u.name }
func (u busUser) seed() string    { return u.role.name + "." + u.name + ".nk" }
func (u busUser) account() string { return cmp.Or(u.role.account, u.role.name+"-"+u.name) }

// reader is the word in subjects about the user's reader.
func (u busUser) reader() string {
	if u.role.shared {
		return "*"
	}
	return u.name
}

// filled puts the user's own names in place of INBOX and READER, and all slots in place of SLOT.
func (u busUser) filled(subjects []string) []string {
	var all []string
	for _, s := range subjects {
		if s == "INBOX.>" {
			s = u.inbox() + ".>"
		}
		if rest, ok := strings.CutSuffix(s, ".READER"); ok {
			s = rest + "." + u.reader()
		}
		rest, ok := strings.CutSuffix(s, ".SLOT")
		switch {
		case !ok:
			all = append(all, s)
		case !u.role.shared: // else any reader is allowed
			for _, slot := range events.ReadingSlots() {
				all = append(all, rest+"."+slot)
			}
		}
	}
	return all
}
