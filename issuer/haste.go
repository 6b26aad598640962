package issuer

import "sync/atomic"

// haste bounds how fast one user may do at this replica what is hers to do and costs all others something: a hash, a record, a
// statement on every node. Only who has her password or a living token of hers takes from it, so nobody else can empty it.
type haste struct {
	users                 *addresses
	logins, tokens, lists atomic.Uint64 // refused
}

// What is counted, each by itself: a thief with a token must not keep her from logging in.
const (
	hasteLogin  = "login\x00"  // and the account's folded name
	hasteTokens = "tokens\x00" // and the subject
	hasteLists  = "lists\x00"  // likewise
)

// hastyError is a ThrottledError that nobody else has caused.
type hastyError struct{ cause error }

func (e *hastyError) Error() string { return e.cause.Error() }
func (e *hastyError) Unwrap() error { return e.cause }

func (h *haste) take(key string) error { return h.users.take(key, 1) }

// spent fails as take would, and takes nothing. It is asked before a password is looked at.
func (h *haste) spent(key string) error {
	if err := h.take(key); err != nil {
		h.logins.Add(1)
		return &hastyError{err}
	}
	_ = h.users.take(key, -1) // giving never fails
	return nil
}

// list is taken for reading her sessions.
func (h *haste) list(sub string) error {
	if err := h.take(hasteLists + sub); err != nil {
		h.lists.Add(1)
		return &hastyError{err}
	}
	return nil
}

// token is taken for a statement that leaves her session, or its heir, alive.
func (h *haste) token(sub string) error {
	if err := h.take(hasteTokens + sub); err != nil {
		h.tokens.Add(1)
		return &hastyError{err}
	}
	return nil
}
