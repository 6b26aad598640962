package issuer

import (
	"context"
	"errors"
)

// PasswordChecker is what a store of users implements if it verifies passwords itself: against a directory server, or a table of
// another system's hashes. The issuer asks it about users without a PasswordHash; those who have one are compared with it.
type PasswordChecker interface {
	// CheckPassword reports whether the password is the user's. For a name that does not exist it is called with the zero
	// User and its answer does not count: let it do the same work as for a wrong password, or the time tells who exists.
	// The issuer bounds how many calls run at once (Config.PasswordWorkers, whose default suits work of the processor: set it
	// higher for a store that waits for others). An error means that nothing is known: the answer is 503, and
	// the attempt does not count as a wrong password. It must not log the password, and must heed ctx.
	CheckPassword(ctx context.Context, u User, password string) (bool, error)
}

// judge compares the password, within an attempt; a zero User, for a name that does not exist, costs what others cost. Errors:
// ErrCredentials, ErrThrottled, ErrUnavailable.
func (i *Issuer) judge(ctx context.Context, try *attempt, u User, password string) error {
	if err := try.ready(); err != nil {
		return err
	}
	compare := func() (bool, error) { return i.passwords.matches(ctx, u.PasswordHash, password) }
	if checker, own := i.users.(PasswordChecker); own && u.PasswordHash == "" {
		if err := try.granted(); err != nil { // the time that it takes may tell what it found
			return err
		}
		compare = func() (bool, error) { return i.ask(ctx, checker, u, password) }
	}
	ok, err := compare()
	if refused := try.granted(); refused != nil { // who may not try is told nothing of the password
		return refused
	}
	switch {
	case err != nil:
		return unavailable(err)
	case !ok:
		try.wrong = true
		return ErrCredentials
	}
	return nil
}

func (i *Issuer) ask(ctx context.Context, c PasswordChecker, u User, password string) (bool, error) {
	if err := i.passwords.acquire(ctx); err != nil {
		return false, err
	}
	defer i.passwords.release()
	ok, err := c.CheckPassword(ctx, u, password)
	return ok && u.Sub != "", err
}

// renewHash stores the password's hash with today's cost if the stored one was made with another, after the answer: the
// password is only known now. It ends no session. Whoever changed the user meanwhile wins.
func (i *Issuer) renewHash(ctx context.Context, u User, password string) {
	h, err := parsePHC(u.PasswordHash)
	if err != nil || h.Argon2 == i.passwords.cost {
		return
	}
	later(ctx, func(ctx context.Context) {
		var err error
		was := u.PasswordHash
		if u.PasswordHash, err = i.passwords.hash(ctx, password); err == nil {
			_, err = i.users.Update(ctx, u)
		}
		switch {
		case err == nil:
			i.log.Info("password hash renewed with the configured cost", "sub", u.Sub, "cost", i.passwords.cost.String())
		case errors.Is(err, ErrConflict):
		default:
			i.log.Warn("password hash not renewed; the next login tries again", "sub", u.Sub, "stored", costOf(was), "error", err)
		}
	})
}

func costOf(stored string) string {
	h, err := parsePHC(stored)
	if err != nil {
		return "unknown"
	}
	return h.Argon2.String()
}
