package issuer

// haste bounds how fast one user may do at this replica what is hers to do and costs all others something: a hash, a record, a
// statement on every node. Only who has her password or a living token of hers takes from it, so nobody else can empty it.
type haste struct{ users *addresses }

// What is counted, each by itself: a thief with a token must not keep her from logging in.
const (
	hasteLogin  = "login\x00"  // and the account's folded name
	hasteTokens = "tokens\x00" // and the subject
)

func (h haste) take(key string) error { return h.users.take(key, 1) }

// spent fails as take would, and takes nothing.
func (h haste) spent(key string) error {
	err := h.users.take(key, 1)
	if err == nil {
		_ = h.users.take(key, -1) // giving never fails
	}
	return err
}
