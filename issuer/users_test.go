package issuer_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quash-auth/quash/issuer"
)

func TestKVUsers(t *testing.T) {
	r := start(t, server(t).URL())
	testUsers(t, issuer.KVUsers(r.Issuer))
}

// testUsers is the contract of issuer.Users; every store has to pass it.
func testUsers(t *testing.T, s issuer.Users) {
	ctx := t.Context()
	ann := issuer.User{Sub: "sub.1|ann", Name: "Ann Ö.", Scopes: []string{"read", "write"}, Created: time.UnixMilli(1_700_000_000_123).UTC()}
	got, err := s.Create(ctx, ann)
	if err != nil {
		t.Fatal(err)
	}
	same := func(what string, got, want issuer.User) {
		t.Helper()
		got.Revision, want.Revision = 0, 0
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", what, got, want)
		}
	}
	same("created", got, ann)
	for _, name := range []string{"Ann Ö.", "ann ö.", "ANN Ö."} {
		found, err := s.ByName(ctx, name)
		if err != nil {
			t.Fatalf("by name %q: %v", name, err)
		}
		same("by name "+name, found, ann)
	}
	for _, clash := range []issuer.User{{Sub: "other", Name: "ann Ö."}, {Sub: ann.Sub, Name: "other"}} {
		if _, err := s.Create(ctx, clash); !errors.Is(err, issuer.ErrUserExists) {
			t.Errorf("create %+v: got %v, want ErrUserExists", clash, err)
		}
	}
	if _, err := s.ByName(ctx, "other"); !errors.Is(err, issuer.ErrNoUser) {
		t.Errorf("a name whose creation failed: got %v, want ErrNoUser", err)
	}
	for _, sub := range []string{"", "other", "a b", "*", ">"} {
		if _, err := s.Get(ctx, sub); !errors.Is(err, issuer.ErrNoUser) {
			t.Errorf("get %q: got %v, want ErrNoUser", sub, err)
		}
	}
	for _, name := range []string{"", "nobody", "*", "\xff"} {
		if _, err := s.ByName(ctx, name); !errors.Is(err, issuer.ErrNoUser) {
			t.Errorf("by name %q: got %v, want ErrNoUser", name, err)
		}
	}
	for _, bad := range []issuer.User{{Sub: "", Name: "x"}, {Sub: "x", Name: ""}, {Sub: "x", Name: " x"}, {Sub: "x", Name: "a\nb"},
		{Sub: "x", Name: "x", Scopes: []string{"a b"}}, {Sub: "x", Name: "x", PasswordHash: "plain"}} {
		if _, err := s.Create(ctx, bad); !errors.Is(err, issuer.ErrUser) {
			t.Errorf("create %+v: got %v, want ErrUser", bad, err)
		}
	}

	u, err := s.Get(ctx, ann.Sub)
	if err != nil {
		t.Fatal(err)
	}
	stale := u
	u.Disabled, u.Scopes = true, []string{"read"}
	after, err := s.Update(ctx, u)
	if err != nil {
		t.Fatal(err)
	}
	same("updated", after, u)
	if _, err := s.Update(ctx, stale); !errors.Is(err, issuer.ErrConflict) {
		t.Errorf("update of a stale user: got %v, want ErrConflict", err)
	}
	if again, err := s.Get(ctx, ann.Sub); err != nil || !again.Disabled || again.Revision != after.Revision {
		t.Errorf("after the conflict: got %+v %v, want the first update", again, err)
	}
	renamed := after
	renamed.Name = "bob"
	if _, err := s.Update(ctx, renamed); !errors.Is(err, issuer.ErrUser) {
		t.Errorf("update of the name: got %v, want ErrUser", err)
	}
	if _, err := s.Update(ctx, issuer.User{Sub: "nobody", Name: "nobody"}); !errors.Is(err, issuer.ErrNoUser) {
		t.Errorf("update of nobody: got %v, want ErrNoUser", err)
	}

	// Two creations of one name at once have one winner.
	var won sync.Map
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			if u, err := s.Create(ctx, issuer.User{Sub: fmt.Sprintf("racer-%d", n), Name: "racer"}); err == nil {
				won.Store(u.Sub, true)
			} else if !errors.Is(err, issuer.ErrUserExists) {
				t.Errorf("racing creation: got %v, want ErrUserExists", err)
			}
		})
	}
	all.Wait()
	racer, err := s.ByName(ctx, "racer")
	if _, ok := won.Load(racer.Sub); err != nil || !ok {
		t.Errorf("got %+v %v, want the winner", racer, err)
	}
	winners := 0
	won.Range(func(any, any) bool { winners++; return true })
	if winners != 1 {
		t.Errorf("got %d winners, want 1", winners)
	}

	var names []string
	if err := s.List(ctx, func(u issuer.User) bool { names = append(names, u.Name); return true }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"Ann Ö.", "racer"}) {
		t.Errorf("list: got %q, want both users", names)
	}
	calls := 0
	if err := s.List(ctx, func(issuer.User) bool { calls++; return false }); err != nil || calls != 1 {
		t.Errorf("list that stops: got %d calls %v, want 1", calls, err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Get(ended, ann.Sub); err == nil || errors.Is(err, issuer.ErrNoUser) {
		t.Errorf("with an ended context: got %v, want an error that is not ErrNoUser", err)
	}
}

func TestPasswords(t *testing.T) {
	r := start(t, server(t).URL())
	u := r.user("ann")
	if want := "$argon2id$v=19$m=64,t=1,p=1$"; u.PasswordHash[:len(want)] != want {
		t.Errorf("got hash %s, want %s…", u.PasswordHash, want)
	}
	if got, err := issuer.ParsePHC(u.PasswordHash); err != nil || got != u.PasswordHash {
		t.Errorf("parse and print: got %s %v, want the same", got, err)
	}
	for _, bad := range []string{"", "x", "$argon2i$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=4294967295,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=64,t=99999,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=64,t=1,p=1x$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA"} {
		if _, err := issuer.ParsePHC(bad); err == nil {
			t.Errorf("%q: got nil, want an error", bad)
		}
	}
	for _, bad := range []string{"", string(make([]byte, 1025))} {
		if _, err := r.CreateUser(t.Context(), "x", bad); !errors.Is(err, issuer.ErrUser) {
			t.Errorf("password of %d bytes: got %v, want ErrUser", len(bad), err)
		}
	}
}

// TestThrottle: guessing is slowed down for all replicas together, and whoever has logged in before is not locked out by it.
func TestThrottle(t *testing.T) {
	c := &clock{}
	nats := server(t)
	address := "198.51.100.1"
	var mu sync.Mutex
	from := func(a string) {
		mu.Lock()
		defer mu.Unlock()
		address = a
	}
	r := start(t, nats.URL(), func(cfg *issuer.Config) {
		cfg.Now, cfg.MaxStaleness, cfg.LoginBurst, cfg.LoginEvery = c.now, 1000*time.Hour, 3, time.Hour
		cfg.ClientAddress = addressOf(func() string { mu.Lock(); defer mu.Unlock(); return address })
	})
	other := startWith(t, nats.URL(), r.cfg)
	r.user("ann")
	r.user("bob")
	from("192.0.2.7")
	r.login("ann")
	from("198.51.100.1")
	for range 10 { // successes cost nothing
		r.login("bob")
	}
	for n := range 3 {
		r.want(fmt.Sprintf("guess %d", n), []*rig{r, other}[n%2].tryLogin("ANN", "guess"), 401, "invalid_credentials")
		r.want("guess at nobody", r.tryLogin("nobody", "guess"), 401, "invalid_credentials")
	}
	for _, name := range []string{"ann", "nobody"} {
		a := other.tryLogin(name, password)
		r.want("one guess too many at "+name, a, 429, "temporarily_unavailable")
		if a.header.Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
	}
	r.login("bob")
	from("192.0.2.7")
	r.login("ann") // the owner, from where she logged in before
	from("203.0.113.9")
	r.want("from elsewhere", r.tryLogin("ann", password), 429, "temporarily_unavailable")
	c.advance(time.Hour)
	r.login("ann")
}

// TestPasswordsAreBounded: hashes beyond the queue are refused at once instead of piling up.
func TestPasswordsAreBounded(t *testing.T) {
	r := start(t, server(t).URL(), func(c *issuer.Config) {
		c.PasswordWorkers, c.Argon2, c.Timeout, c.LoginBurst = 1, issuer.Argon2{}, deadline, 1000
	})
	r.user("ann")
	answers := make(chan answer, 80)
	for range cap(answers) {
		go func() { answers <- r.tryLogin("ann", password) }()
	}
	count := map[int]int{}
	for range cap(answers) {
		a := <-answers
		count[a.status]++
	}
	// One is at work, eight wait. So many attempts on one account at once may also lose their turn in the throttle (429).
	if count[200] == 0 || count[503] == 0 || count[200]+count[503]+count[429] != cap(answers) {
		t.Errorf("got %v, want some served and some refused with 503", count)
	}
}
