package usertest_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/quash-auth/quash/issuer"
	"github.com/quash-auth/quash/issuer/usertest"
)

// memory is a store of a team's own, as short as the contract allows.
type memory struct {
	mu     sync.Mutex // guards what follows
	bySub  map[string]issuer.User
	byName map[string]string // of folded names, to subs
	writes uint64
}

func newMemory() *memory {
	return &memory{bySub: map[string]issuer.User{}, byName: map[string]string{}}
}

func copyOf(u issuer.User) issuer.User {
	u.Scopes = slices.Clone(u.Scopes)
	return u
}

func (m *memory) store(u issuer.User) issuer.User {
	m.writes++
	u.Revision = m.writes
	m.bySub[u.Sub] = copyOf(u)
	return copyOf(u)
}

// Create is part of issuer.Users.
func (m *memory) Create(ctx context.Context, u issuer.User) (issuer.User, error) {
	if err := u.Check(); err != nil {
		return issuer.User{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	_, name := m.byName[issuer.FoldName(u.Name)]
	if _, sub := m.bySub[u.Sub]; sub || name {
		return issuer.User{}, issuer.ErrUserExists
	}
	if err := ctx.Err(); err != nil {
		return issuer.User{}, err
	}
	m.byName[issuer.FoldName(u.Name)] = u.Sub
	return m.store(u), nil
}

// Get is part of issuer.Users.
func (m *memory) Get(ctx context.Context, sub string) (issuer.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u, ok := m.bySub[sub]
	if err := ctx.Err(); err != nil {
		return issuer.User{}, err
	}
	if !ok {
		return issuer.User{}, issuer.ErrNoUser
	}
	return copyOf(u), nil
}

// ByName is part of issuer.Users.
func (m *memory) ByName(ctx context.Context, name string) (issuer.User, error) {
	m.mu.Lock()
	sub, ok := m.byName[issuer.FoldName(name)]
	m.mu.Unlock()
	if !ok {
		sub = ""
	}
	return m.Get(ctx, sub)
}

// Update is part of issuer.Users.
func (m *memory) Update(ctx context.Context, u issuer.User) (issuer.User, error) {
	if err := u.Check(); err != nil {
		return issuer.User{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	was, ok := m.bySub[u.Sub]
	switch {
	case ctx.Err() != nil:
		return issuer.User{}, ctx.Err()
	case !ok:
		return issuer.User{}, issuer.ErrNoUser
	case was.Name != u.Name:
		return issuer.User{}, fmt.Errorf("%w: Name: cannot change", issuer.ErrUser)
	case was.Revision != u.Revision:
		return issuer.User{}, issuer.ErrConflict
	}
	u.Created = was.Created
	return m.store(u), nil
}

// List is part of issuer.Users.
func (m *memory) List(ctx context.Context, each func(issuer.User) bool) error {
	m.mu.Lock()
	all := make([]issuer.User, 0, len(m.bySub))
	for _, u := range m.bySub {
		all = append(all, copyOf(u))
	}
	m.mu.Unlock()
	for _, u := range all {
		if !each(u) {
			break
		}
	}
	return ctx.Err()
}

// TestMemory: a store that has nothing to do with NATS passes.
func TestMemory(t *testing.T) {
	usertest.Run(t, func(*testing.T) issuer.Users { return newMemory() })
}

// legacy verifies passwords itself, as a directory server or an old table of hashes would.
type legacy struct {
	*memory
	check func(name, password string) bool
}

// CheckPassword is issuer.PasswordChecker.
func (l legacy) CheckPassword(_ context.Context, u issuer.User, password string) (bool, error) {
	return l.check(u.Name, password), nil
}

// A team that keeps its accounts in a store of its own gives it to the issuer, and tests it with usertest.Run.
func Example() {
	store := legacy{newMemory(), func(name, password string) bool { return password == strings.ToUpper(name) }}
	u, err := store.Create(context.Background(), issuer.User{Sub: "7f3a", Name: "ann", Scopes: []string{"read"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	config := issuer.Config{Issuer: "https://login.example", Audience: []string{"api"}, Users: store} // and Conn, KeysDir
	checker, ok := config.Users.(issuer.PasswordChecker)
	fmt.Println("verifies passwords itself:", ok && u.PasswordHash == "")
	right, _ := checker.CheckPassword(context.Background(), u, "ANN")
	fmt.Println(right)
	// Output:
	// verifies passwords itself: true
	// true
}
