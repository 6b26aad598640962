package issuer

import (
	"sync/atomic"
	"time"
)

// clientSubject begins the sub of tokens that a client got for itself, so that no user is taken for a client (RFC 9068 §5).
const clientSubject = "client:"

// registry is the clients at one moment; only the times of issue in it change.
type registry struct {
	byID  map[string]*entry
	first *entry // the default of POST /login, if it may
}

// entry is a client and the newest iat that this replica put into a token for it. A reload keeps it.
type entry struct {
	Client
	issued *atomic.Int64
}

func newRegistry(clients []Client, was *registry) *registry {
	r := &registry{byID: make(map[string]*entry, len(clients))}
	for _, c := range clients {
		e := &entry{Client: c}
		if old := was.byID[c.ID]; old != nil {
			e.issued = old.issued
		} else {
			e.issued = new(atomic.Int64)
		}
		if r.first == nil {
			r.first = e
		}
		r.byID[c.ID] = e
	}
	return r
}

func (r *registry) usable(id string) bool {
	e := r.byID[id]
	return e != nil && !e.Disabled
}

// client finds a client, disabled or not.
func (i *Issuer) client(id string) (Client, bool) {
	e := i.clients.Load().byID[id]
	if e == nil {
		return Client{}, false
	}
	return e.Client, true
}

// usable finds a client that is not disabled.
func (i *Issuer) usable(id string) (Client, bool) {
	c, ok := i.client(id)
	return c, ok && !c.Disabled
}

// defaultClient is the one of a login that names none: the first, if it is public and may log people in.
func (i *Issuer) defaultClient() (Client, bool) {
	e := i.clients.Load().first
	if e == nil {
		return Client{}, false
	}
	return e.Client, e.Public && !e.Disabled && e.may(GrantLogin)
}

// issuing is asked before every token for a client. It notes the token's iat and only then looks whether the client is
// usable: so whoever takes the client away and then reads the time knows of every token that got through.
func (i *Issuer) issuing(id string, issued time.Time) bool {
	e := i.clients.Load().byID[id]
	if e == nil {
		return false
	}
	for at := issued.Unix(); ; {
		was := e.issued.Load()
		if was >= at || e.issued.CompareAndSwap(was, at) {
			break
		}
	}
	return i.clients.Load().usable(id)
}
