package issuer

import (
	"errors"
	"sync/atomic"

	"github.com/quash-auth/quash/internal/snapshot"
)

// Stats are what this replica counts since New, and what it is doing without.
type Stats struct {
	// InvalidStatements on the stream that made no sense, and so had no effect here. Find their publisher.
	InvalidStatements uint64
	// Returned statements: the stream had lost them and has them again. Find out who wiped or restored it.
	Returned uint64
	// Renewed statements about revoked keys: the issuer says again that they are, for ever.
	Renewed uint64
	// Clients known, disabled ones included.
	Clients int
	// ClientsFileProblem is why Config.ClientsFile cannot be used as it is now; empty: it is in force.
	ClientsFileProblem string
	// LedgerProblem is why Config.Ledger is not written any more; empty: it is, or there is none.
	LedgerProblem string

	// Passwords that were shown and right, also if the account is disabled; that were wrong; and that nobody looked at, because the
	// account or the address had to wait.
	PasswordsRight, PasswordsWrong, PasswordsThrottled uint64
	// LoginsHasty and TokensHasty were refused because the user herself, or who has her password or a token of hers, was faster than
	// OwnEvery: logins, renewals by cookie with revocations of access tokens, and lists of her sessions. Others' guesses are not
	// among them.
	LoginsHasty, TokensHasty, ListsHasty uint64
	// RevocationsThrottled were refused because an operator or a system revoked too fast.
	RevocationsThrottled uint64
	// OnceMinted are one-time tokens given out.
	OnceMinted uint64
}

// counts are the counters of Stats that no part keeps for itself.
type counts struct {
	returned, renewed, right, wrong, throttled, minted atomic.Uint64
}

// password counts the outcome of showing one.
func (c *counts) password(err error) {
	hasty := (*hastyError)(nil)
	switch {
	case err == nil, errors.Is(err, ErrDisabled):
		c.right.Add(1)
	case errors.Is(err, ErrCredentials):
		c.wrong.Add(1)
	case errors.Is(err, ErrThrottled) && !errors.As(err, &hasty):
		c.throttled.Add(1)
	}
}

// Stats returns the current ones. They are read one after the other, not at one instant.
func (i *Issuer) Stats() Stats {
	c := &i.counts
	s := Stats{
		InvalidStatements: i.deny.Stats().Invalid, Returned: c.returned.Load(), Renewed: c.renewed.Load(), Clients: len(i.clients.Load().byID),
		PasswordsRight: c.right.Load(), PasswordsWrong: c.wrong.Load(), PasswordsThrottled: c.throttled.Load(),
		LoginsHasty: i.haste.logins.Load(), TokensHasty: i.haste.tokens.Load(), ListsHasty: i.haste.lists.Load(),
		RevocationsThrottled: i.limit.refused.Load(), OnceMinted: c.minted.Load(),
	}
	if p := i.registrar.problem.Load(); p != nil {
		s.ClientsFileProblem = *p
	}
	if f := i.ledger.file; f != nil {
		if err := f.Err(); err != nil && !errors.Is(err, snapshot.ErrClosed) {
			s.LedgerProblem = err.Error()
		}
	}
	return s
}
