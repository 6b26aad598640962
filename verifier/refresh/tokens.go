package refresh

import "time"

// Tokens is what an issuer gave out for one session.
type Tokens struct {
	Access  string    `json:"access_token"`
	Refresh string    `json:"refresh_token,omitempty"`
	Scope   string    `json:"scope,omitempty"`
	Expires time.Time `json:"expires,omitzero"` // of the access token; zero: not known
}

// String hides the tokens, so that a log of the struct does not give them away.
func (t Tokens) String() string {
	shown := func(s string) string {
		if s == "" {
			return "none"
		}
		return "set"
	}
	return "Tokens{access: " + shown(t.Access) + ", refresh: " + shown(t.Refresh) + "}"
}

// GoString is String, for %#v.
func (t Tokens) GoString() string { return t.String() }
