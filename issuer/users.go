package issuer

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"
)

// kvUsers keeps accounts in the issuer's bucket: u.<sub> holds the user, n.<name> the sub that owns the name. Both are
// written in one atomic batch.
type kvUsers struct{ b *bucket }

type nameRecord struct {
	Sub string `json:"sub"`
}

type userRecord struct {
	Name     string   `json:"name"`
	Hash     string   `json:"hash,omitempty"`
	Scopes   []string `json:"scopes,omitempty"`
	Disabled bool     `json:"disabled"`
	Created  int64    `json:"created"` // ms
}

func userKey(sub string) string { return "u." + base64.RawURLEncoding.EncodeToString([]byte(sub)) }
func nameKey(name string) string {
	return "n." + base64.RawURLEncoding.EncodeToString([]byte(foldName(name)))
}

func (s kvUsers) Create(ctx context.Context, u User) (User, error) {
	if err := u.validate(); err != nil {
		return User{}, err
	}
	value, err := encodeUser(u)
	if err != nil {
		return User{}, err
	}
	name, err := encodeRecord(kindName, nameKey(u.Name), nameRecord{u.Sub})
	if err != nil {
		return User{}, err
	}
	was, err := s.b.getAll(ctx, nameKey(u.Name), userKey(u.Sub))
	if err != nil {
		return User{}, err
	}
	if was[0].exists() || was[1].exists() {
		return User{}, fmt.Errorf("create user: %w", ErrUserExists)
	}
	_, err = s.b.commit(ctx,
		write{key: nameKey(u.Name), value: name, revision: was[0].revision},
		write{key: userKey(u.Sub), value: value, revision: was[1].revision})
	if errors.Is(err, ErrConflict) {
		return User{}, fmt.Errorf("create user: %w", ErrUserExists)
	}
	if err != nil {
		return User{}, fmt.Errorf("create user: %w", err)
	}
	return s.Get(ctx, u.Sub)
}

func (s kvUsers) Get(ctx context.Context, sub string) (User, error) {
	if !printable(sub, maxSubject) {
		return User{}, ErrNoUser
	}
	r, err := s.b.get(ctx, userKey(sub))
	if err != nil {
		return User{}, err
	}
	if !r.exists() {
		return User{}, ErrNoUser
	}
	return decodeUser(r)
}

// ByName reads twice for unknown names as well, so that the two take the same time.
func (s kvUsers) ByName(ctx context.Context, name string) (User, error) {
	if nameProblem(name) != "" {
		name = "\x00"
	}
	r, err := s.b.get(ctx, nameKey(name))
	if err != nil {
		return User{}, err
	}
	sub := "unknown"
	if r.exists() {
		if err := r.decode(kindName, field{name: "sub", into: &sub}); err != nil {
			return User{}, err
		}
	}
	u, err := s.Get(ctx, sub)
	switch {
	case err != nil:
		return User{}, err
	case !r.exists():
		return User{}, ErrNoUser
	case foldName(u.Name) != foldName(name):
		return User{}, badRecord(r.key, errors.New("names a user of another name"))
	}
	return u, nil
}

func (s kvUsers) Update(ctx context.Context, u User) (User, error) {
	if err := u.validate(); err != nil {
		return User{}, err
	}
	was, err := s.Get(ctx, u.Sub)
	if err != nil {
		return User{}, err
	}
	if was.Name != u.Name {
		return User{}, fmt.Errorf("%w: Name: cannot change", ErrUser)
	}
	u.Created = was.Created
	value, err := encodeUser(u)
	if err != nil {
		return User{}, err
	}
	u = u.clone()
	if u.Revision, err = s.b.put(ctx, write{key: userKey(u.Sub), value: value, revision: u.Revision}); err != nil {
		return User{}, fmt.Errorf("update user: %w", err)
	}
	return u, nil
}

func (s kvUsers) List(ctx context.Context, each func(User) bool) error {
	var bad error
	err := s.b.each(ctx, "u.*", func(r record) bool {
		u, err := decodeUser(r)
		if err != nil {
			bad = err
			return false
		}
		return each(u)
	})
	return errors.Join(err, bad)
}

func encodeUser(u User) ([]byte, error) {
	return encodeRecord(kindUser, userKey(u.Sub), userRecord{u.Name, u.PasswordHash, u.Scopes, u.Disabled, u.Created.UnixMilli()})
}

func decodeUser(r record) (User, error) {
	var v userRecord
	err := r.decode(kindUser, field{name: "name", into: &v.Name}, field{name: "created", into: &v.Created},
		field{"hash", &v.Hash, true}, field{"scopes", &v.Scopes, true}, field{name: "disabled", into: &v.Disabled})
	if err != nil {
		return User{}, err
	}
	sub, err := base64.RawURLEncoding.DecodeString(r.key[len("u."):])
	if err != nil {
		return User{}, badRecord(r.key, errors.New("is no user's key"))
	}
	return User{string(sub), v.Name, v.Hash, v.Scopes, v.Disabled, time.UnixMilli(v.Created).UTC(), r.revision}, nil
}
