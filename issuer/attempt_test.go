package issuer_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quash-auth/quash/issuer"
)

// directory checks passwords itself, as a directory server would.
type directory struct {
	issuer.Users
	asked  atomic.Int64
	broken atomic.Bool
}

func (d *directory) CheckPassword(_ context.Context, _ issuer.User, pass string) (bool, error) {
	d.asked.Add(1)
	return pass == password, nil
}

func (d *directory) Get(ctx context.Context, sub string) (issuer.User, error) {
	if d.broken.Load() {
		panic("a defect of the store")
	}
	return d.Users.Get(ctx, sub)
}

func newDirectory(t *testing.T, users issuer.Users) *directory {
	t.Helper()
	if _, err := users.Create(within(t), issuer.User{Sub: "1", Name: "ann", Created: time.Now()}); err != nil {
		t.Fatal(err)
	}
	return &directory{Users: users}
}

// TestDirectoryIsAskedForATokenOnly: how long a directory takes may tell what it found, and it counts by itself: it hears of no guess
// that is not counted here, from however many replicas.
func TestDirectoryIsAskedForATokenOnly(t *testing.T) {
	n := server(t)
	users, err := issuer.OpenKVUsers(within(t), n.Connect(t), "PEOPLE")
	if err != nil {
		t.Fatal(err)
	}
	d := newDirectory(t, users)
	r, c, _ := throttled(t, n.URL(), func(cfg *issuer.Config) { cfg.Users, cfg.AddressBurst = d, 1000 })
	other := startWith(t, n.URL(), r.cfg)
	issuer.SetThrottleClock(other.Issuer, c.now)
	const guesses = 16
	statuses := make(chan int, guesses)
	for n := range guesses {
		go func() { statuses <- []*rig{r, other}[n%2].tryLogin("ann", "guess").status }()
	}
	count := map[int]int{}
	for range guesses {
		count[<-statuses]++
	}
	if count[401] != 3 || count[429] != guesses-3 || d.asked.Load() != 3 {
		t.Errorf("got %v, and the directory was asked %d times; want three guesses, each asked for once", count, d.asked.Load())
	}
}

// TestUsersThatPanic: what a store does in a login or a refresh ends neither the process nor the session.
func TestUsersThatPanic(t *testing.T) {
	n := server(t)
	users, err := issuer.OpenKVUsers(within(t), n.Connect(t), "PEOPLE")
	if err != nil {
		t.Fatal(err)
	}
	d := newDirectory(t, users)
	r := start(t, n.URL(), func(cfg *issuer.Config) { cfg.Users = d })
	s := r.login("ann")
	d.broken.Store(true)
	r.want("login", r.tryLogin("ann", password), 503, "temporarily_unavailable")
	r.want("refresh", r.refresh(s.Refresh), 503, "temporarily_unavailable")
	d.broken.Store(false)
	if s = r.refresh(s.Refresh); s.status != 200 {
		t.Errorf("refresh afterwards: got %d %s", s.status, s.raw)
	}
	r.login("ann")
}

// TestPasswordBeforeIsAGuess: a password that is changed while it is compared is worth one attempt more at most.
func TestPasswordBeforeIsAGuess(t *testing.T) {
	r, _, _ := throttled(t, server(t).URL(), func(cfg *issuer.Config) { cfg.PasswordWorkers, cfg.AddressBurst, cfg.LoginBurst = 4, 100, 2 })
	u := r.user("ann")
	var changed atomic.Bool
	issuer.OnDerive(r.Issuer, func(issuer.Argon2) {
		if changed.CompareAndSwap(false, true) {
			if err := r.SetPassword(within(t), u.Sub, "another one", issuer.Cause{}); err != nil {
				t.Error(err)
			}
		}
	})
	wrong := 0
	for ; r.tryLogin("ann", password).status == 401; wrong++ {
		if wrong > 3 {
			t.Fatal("never refused")
		}
	}
	if wrong < 2 || wrong > 3 {
		t.Errorf("%d attempts with the password before, want 2, or 3 if it was the right one at first", wrong)
	}
	r.want("one more", r.tryLogin("ann", "another one"), 429, "temporarily_unavailable")
}
