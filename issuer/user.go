package issuer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const maxSubject = 256 // bytes

// User is an account.
type User struct {
	// Sub is the subject in tokens: random, never reused, never changed. It must not begin with "client:".
	Sub string
	// Name to log in with: 1 to 256 bytes of UTF-8 without control characters and without space at its ends. Two names
	// that differ in case only are the same name.
	Name string
	// PasswordHash is an Argon2id PHC string; empty: nobody can log in.
	PasswordHash string
	// Scopes the user has.
	Scopes []string
	// Disabled accounts cannot log in or refresh.
	Disabled bool
	// Created in whole milliseconds.
	Created time.Time
	// Revision is the store's; Update compares it.
	Revision uint64
}

// Users is a store of accounts, shared by all replicas and used by many goroutines. A read must see every write that was
// acknowledged before it began, by whatever replica. What a caller does with a User it gave or got must not reach the store. An
// error that is none of those named here means that nothing is known: the issuer answers 503. issuer/usertest has all this as
// tests. Accounts are never deleted: a name and a Sub that were given away stay taken, disabled at most.
//
// A store that verifies passwords itself is a PasswordChecker as well.
type Users interface {
	// Create stores a new user. It must return ErrUser if User.Check does, and ErrUserExists if the name (case ignored, see
	// FoldName) or the Sub is taken, of two at once for one of them; then it changes nothing. It must be durable when it
	// returns nil, and return the user with its Revision; the one given means nothing.
	Create(ctx context.Context, u User) (User, error)
	// Get finds by Sub, exactly; it must return ErrNoUser if there is none, whatever the text.
	Get(ctx context.Context, sub string) (User, error)
	// ByName finds by name, case ignored and nothing else; it must return ErrNoUser if there is none, whatever the text. No
	// character means anything. The issuer takes an account that was found by another spelling for none. Let it do the same work for both: the time must not tell who exists.
	ByName(ctx context.Context, name string) (User, error)
	// Update replaces the user with the same Sub if its Revision is still u.Revision, else it must return ErrConflict and
	// change nothing; the new Revision is another one. Sub, Name and Created never change: it must return ErrUser if the name
	// differs, and keep Created. It must return ErrUser if User.Check does, and ErrNoUser if there is no such Sub.
	Update(ctx context.Context, u User) (User, error)
	// List calls each with every user, in no particular order, until it returns false.
	List(ctx context.Context, each func(User) bool) error
}

// Check names the field that no store may accept. Error: ErrUser.
func (u User) Check() error { return u.validate() }

// validate names the field that is wrong.
func (u User) validate() error {
	bad := func(field, problem string) error { return fmt.Errorf("%w: %s: %s", ErrUser, field, problem) }
	if !printable(u.Sub, maxSubject) {
		return bad("Sub", "must be 1 to 256 printable ASCII characters")
	}
	if strings.HasPrefix(u.Sub, clientSubject) {
		return bad("Sub", "begins with "+clientSubject+", as the subjects of clients do")
	}
	if p := nameProblem(u.Name); p != "" {
		return bad("Name", p)
	}
	if u.PasswordHash != "" {
		if _, err := parsePHC(u.PasswordHash); err != nil {
			return bad("PasswordHash", err.Error())
		}
	}
	if len(u.Scopes) > 100 {
		return bad("Scopes", "has more than 100 members")
	}
	for _, s := range u.Scopes {
		if !scopeToken(s) {
			return bad("Scopes", "has a member that is not a scope token (RFC 6749 §3.3)")
		}
	}
	return nil
}

func nameProblem(name string) string {
	switch {
	case name == "":
		return "is required"
	case len(name) > 256:
		return "is longer than 256 bytes"
	case !utf8.ValidString(name):
		return "is not valid UTF-8"
	case strings.TrimSpace(name) != name:
		return "begins or ends with space"
	case strings.ContainsFunc(name, unicode.IsControl):
		return "has a control character"
	}
	return ""
}

func (u User) clone() User {
	u.Scopes = slices.Clone(u.Scopes)
	return u
}

// FoldName maps names that are the same name to the same text, for stores that must find them.
func FoldName(name string) string { return foldName(name) }

// foldName maps names that are the same to the same text.
func foldName(name string) string { return strings.ToLower(strings.ToUpper(name)) }
