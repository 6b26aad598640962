package issuer

import (
	"strings"

	"github.com/quash-auth/quash/events"
)

// sayable is what was read from the stream in a form that may be published: readers take any By, and longer texts than a publisher may
// write. What the statement covers stays what it is.
func sayable(r events.Revocation) events.Revocation {
	switch r.By {
	case "admin", "user", "policy", "system":
	default:
		r.By = "system"
	}
	for _, text := range []*string{&r.Actor, &r.Reason, &r.Txn} {
		if len(*text) > events.MaxText {
			*text = strings.ToValidUTF8((*text)[:events.MaxText], "")
		}
	}
	return r
}
