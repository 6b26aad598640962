package issuer

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
)

// exact holds a store of somebody else to what the issuer relies on most: a name is the account's own (see FoldName) and a Sub is
// the text that was asked for. A store that takes more spellings for one name (a directory, a database's collation) would
// give every spelling its own count of wrong passwords, and one that takes two texts for one Sub would be asked for the
// revocations of the wrong one.
type exact struct {
	Users
	log  *slog.Logger
	once *sync.Once // the first other name is logged
}

// exactChecker is for stores that check passwords.
type exactChecker struct {
	exact
	PasswordChecker
}

func newExact(s Users, log *slog.Logger) Users {
	e := exact{s, log, &sync.Once{}}
	if c, ok := s.(PasswordChecker); ok {
		return exactChecker{e, c}
	}
	return e
}

func (e exact) Get(ctx context.Context, sub string) (User, error) {
	u, err := e.Users.Get(ctx, sub)
	return e.same(u, err, sub)
}

// ByName takes another account than the name's for none.
func (e exact) ByName(ctx context.Context, name string) (User, error) {
	u, err := e.Users.ByName(ctx, name)
	if err == nil && foldName(u.Name) != foldName(name) {
		e.once.Do(func() {
			e.log.Error("the store of users finds an account by another spelling of its name; nobody logs in by that: see issuer/usertest", "sub", u.Sub)
		})
		return User{}, ErrNoUser
	}
	return u, err
}

func (e exact) Create(ctx context.Context, u User) (User, error) {
	got, err := e.Users.Create(ctx, u)
	return e.same(got, err, u.Sub)
}

func (e exact) Update(ctx context.Context, u User) (User, error) {
	got, err := e.Users.Update(ctx, u)
	return e.same(got, err, u.Sub)
}

func (e exact) same(u User, err error, sub string) (User, error) {
	if err == nil && u.Sub != sub {
		return User{}, fmt.Errorf("%w: the store of users answers with another Sub than it was asked for: see issuer/usertest", ErrUnavailable)
	}
	return u, err
}
