package cache

// Scope is what a statement's key names. The numbers equal those of events.Scope, so
// that a caller may convert one into the other.
type Scope uint8

// The scopes, from the narrowest to the widest. Check asks them in this order.
const (
	Token   Scope = iota + 1 // one token, by jti
	Session                  // all tokens of one login, by sid
	Subject                  // all tokens of one user, by sub
	Client                   // all tokens of one client, by client_id or azp
	Key                      // all tokens signed by one key, by kid
	Issuer                   // all tokens of the issuer; the key is empty
)

// scopes is the length of an array indexed by Scope; index 0 stays unused.
const scopes = int(Issuer) + 1

func (s Scope) String() string {
	switch s {
	case Token:
		return "token"
	case Session:
		return "session"
	case Subject:
		return "subject"
	case Client:
		return "client"
	case Key:
		return "key"
	case Issuer:
		return "issuer"
	}
	return "unknown"
}

func (s Scope) known() bool { return s >= Token && s <= Issuer }

// whole reports that a statement of this scope covers its tokens whenever they were
// issued: presence is the verdict. The other scopes carry a cutoff.
func (s Scope) whole() bool { return s == Token || s == Session }
