package events

import (
	"fmt"
	"strings"
)

// Scope says what a revocation's key names. The zero value is not a scope.
type Scope uint8

// The scopes. Their numbers never change.
const (
	Token   Scope = iota + 1 // one token, by its jti
	Session                  // all tokens of a session, by sid
	Subject                  // all tokens of a subject, by sub
	Client                   // all tokens of a client, by client_id or azp
	Key                      // all tokens signed with a key, by kid
	Issuer                   // all tokens of the issuer; no key
)

var scopeNames = [...]string{Token: "token", Session: "session", Subject: "subject", Client: "client", Key: "key", Issuer: "issuer"}

// Scopes returns every scope, the narrowest first.
func Scopes() []Scope { return []Scope{Token, Session, Subject, Client, Key, Issuer} }

// ParseScope returns the scope with this exact name.
func ParseScope(name string) (Scope, error) {
	if s, ok := scopeNamed(name); ok {
		return s, nil
	}
	return 0, badField("scope", "%.40q is none of %s", name, strings.Join(scopeNames[1:], ", "))
}

func scopeNamed(name string) (Scope, bool) {
	switch name {
	case "token":
		return Token, true
	case "session":
		return Session, true
	case "subject":
		return Subject, true
	case "client":
		return Client, true
	case "key":
		return Key, true
	case "issuer":
		return Issuer, true
	}
	return 0, false
}

// Valid reports whether s is one of the scopes.
func (s Scope) Valid() bool { return s >= Token && s <= Issuer }

// String returns the scope's name.
func (s Scope) String() string {
	if !s.Valid() {
		return fmt.Sprintf("Scope(%d)", uint8(s))
	}
	return scopeNames[s]
}

// MarshalText writes the scope's name.
func (s Scope) MarshalText() ([]byte, error) {
	if !s.Valid() {
		return nil, badField("scope", "%d is not a scope", uint8(s))
	}
	return []byte(scopeNames[s]), nil
}

// UnmarshalText reads a scope's name.
func (s *Scope) UnmarshalText(text []byte) error {
	parsed, err := ParseScope(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}

// cutoff reports whether a statement of this scope needs an instant (Before) up
// to which it covers tokens.
func (s Scope) cutoff() bool { return s == Subject || s == Client || s == Issuer }

// dated reports whether it may have one. A key without one is covered whole:
// who has the key chooses the iat.
func (s Scope) dated() bool { return s.cutoff() || s == Key }

// SubjectFor returns the NATS subject that revocations of this scope are
// published to.
func SubjectFor(s Scope) string { return SubjectRevoked + "." + s.String() }
