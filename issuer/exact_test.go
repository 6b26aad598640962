package issuer_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unicode"

	"github.com/quash-auth/quash/issuer"
)

// loose is a store of somebody else, as a directory may be: only letters count in a name, and case nowhere.
type loose struct {
	issuer.Users
	mu    sync.Mutex // guards what follows
	names map[string]string
	subs  map[string]string

	asked atomic.Int64 // for passwords of accounts
}

func letters(name string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
}

// Create is part of issuer.Users.
func (l *loose) Create(ctx context.Context, u issuer.User) (issuer.User, error) {
	l.mu.Lock()
	l.names[letters(u.Name)], l.subs[strings.ToLower(u.Sub)] = u.Name, u.Sub
	l.mu.Unlock()
	return l.Users.Create(ctx, u)
}

// ByName is part of issuer.Users.
func (l *loose) ByName(ctx context.Context, name string) (issuer.User, error) {
	l.mu.Lock()
	name = l.names[letters(name)]
	l.mu.Unlock()
	return l.Users.ByName(ctx, name)
}

// Get is part of issuer.Users.
func (l *loose) Get(ctx context.Context, sub string) (issuer.User, error) {
	l.mu.Lock()
	sub = l.subs[strings.ToLower(sub)]
	l.mu.Unlock()
	return l.Users.Get(ctx, sub)
}

// CheckPassword is issuer.PasswordChecker.
func (l *loose) CheckPassword(_ context.Context, u issuer.User, pass string) (bool, error) {
	if u.Sub != "" {
		l.asked.Add(1)
	}
	return pass == password, nil
}

// TestLooseUsers: a store that takes more for one name than case gives nobody more guesses, and nobody the account of
// another Sub.
func TestLooseUsers(t *testing.T) {
	t.Parallel()
	nats := server(t)
	kv, err := issuer.OpenKVUsers(within(t), nats.Connect(t), "LOOSE")
	if err != nil {
		t.Fatal(err)
	}
	store, l := &loose{Users: kv, names: map[string]string{}, subs: map[string]string{}}, &logs{}
	r := start(t, nats.URL(), func(c *issuer.Config) {
		c.Users, c.LoginBurst, c.AddressBurst, c.Logger = store, 5, 1000, l.logger()
	})
	if r.Users() != issuer.Users(store) {
		t.Error("Users returns another store than the one that was given")
	}
	if _, err := store.Create(within(t), issuer.User{Sub: "Sub-Ann", Name: "ann"}); err != nil {
		t.Fatal(err)
	}
	r.login("ann")
	r.login("ANN")
	before := store.asked.Load()
	for n := range 20 {
		spelling := strings.Repeat(".", n) + "a.nn"
		r.want(spelling, r.tryLogin(spelling, password), 401, "invalid_credentials")
	}
	if got := store.asked.Load() - before; got != 0 {
		t.Errorf("the password of ann was looked at %d times in the name of other spellings, want never", got)
	}
	if got := strings.Count(l.String(), "another spelling"); got != 1 {
		t.Errorf("it was logged %d times, want once", got)
	}
	if got := strings.Count(l.String(), "..a.nn"); got != 0 {
		t.Errorf("what was typed was logged %d times: it may be a password", got)
	}
	if err := r.Disable(within(t), "sub-ann", issuer.Cause{}); err == nil {
		t.Error("the account of another Sub was disabled, and nothing of it revoked")
	}
	r.login("ann")
	if err := r.Disable(within(t), "Sub-Ann", issuer.Cause{}); err != nil {
		t.Errorf("disable: %v", err)
	}
	r.want("disabled", r.tryLogin("ann", password), 403, "access_denied")
}
