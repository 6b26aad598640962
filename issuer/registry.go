package issuer

// clientSubject begins the sub of tokens that a client got for itself, so that no user is taken for a client (RFC 9068 §5).
const clientSubject = "client:"

// registry is the clients at one moment; it never changes.
type registry struct {
	byID  map[string]Client
	first Client // the default of POST /login, if it may
}

func newRegistry(clients []Client) *registry {
	r := &registry{byID: make(map[string]Client, len(clients))}
	for n, c := range clients {
		if n == 0 {
			r.first = c
		}
		r.byID[c.ID] = c
	}
	return r
}

// client finds a client, disabled or not.
func (i *Issuer) client(id string) (Client, bool) {
	c, ok := i.clients.Load().byID[id]
	return c, ok
}

// usable finds a client that is not disabled.
func (i *Issuer) usable(id string) (Client, bool) {
	c, ok := i.client(id)
	return c, ok && !c.Disabled
}

// defaultClient is the one of a login that names none: the first, if it is public and may log people in.
func (i *Issuer) defaultClient() (Client, bool) {
	c := i.clients.Load().first
	return c, c.Public && !c.Disabled && c.may(GrantLogin)
}
