package usertest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/quash-auth/quash/issuer"
)

func (s *suite) update() {
	u := s.must(ann())
	for what, change := range map[string]func(*issuer.User){
		"disabled": func(u *issuer.User) { u.Disabled = true }, "enabled": func(u *issuer.User) { u.Disabled = false },
		"fewer scopes": func(u *issuer.User) { u.Scopes = []string{"read"} }, "no scopes": func(u *issuer.User) { u.Scopes = nil },
		"no password": func(u *issuer.User) { u.PasswordHash = "" }, "a password": func(u *issuer.User) { u.PasswordHash = hash },
	} {
		change(&u)
		after, err := s.one.Update(s.Context(), u)
		if err != nil {
			s.Fatalf("%s: %v", what, err)
		}
		if after.Revision == u.Revision {
			s.Errorf("%s: the revision is still %d", what, u.Revision)
		}
		s.same(what, after, u)
		s.finds(what, u)
		u = after
	}
	was := u.Created
	u.Created = was.Add(time.Hour)
	if after, err := s.one.Update(s.Context(), u); err != nil || !after.Created.Equal(was) {
		s.Errorf("update of Created: got %v %v, want it to stay %v", after.Created, err, was)
	}
}

func (s *suite) updateRefuses() {
	u := s.must(ann())
	s.must(issuer.User{Sub: "b", Name: "bob"})
	for what, change := range map[string]func(*issuer.User){
		"another name": func(u *issuer.User) { u.Name = "cleo" }, "somebody's name": func(u *issuer.User) { u.Name = "bob" },
		"the name in another case": func(u *issuer.User) { u.Name = "ANN ö." }, "no name": func(u *issuer.User) { u.Name = "" },
		"a password in clear": func(u *issuer.User) { u.PasswordHash = "plain" }, "a scope with space": func(u *issuer.User) { u.Scopes = []string{"a b"} },
	} {
		bad := u
		change(&bad)
		_, err := s.one.Update(s.Context(), bad)
		s.fails("update with "+what, err, issuer.ErrUser)
	}
	s.finds("after refusals", u)
	_, err := s.one.ByName(s.Context(), "cleo")
	s.fails("the refused name", err, issuer.ErrNoUser)
	_, err = s.one.Update(s.Context(), issuer.User{Sub: "nobody", Name: "nobody"})
	s.fails("update of nobody", err, issuer.ErrNoUser)
	_, err = s.one.Get(s.Context(), "nobody")
	s.fails("nobody after the update", err, issuer.ErrNoUser)
}

func (s *suite) conflict() {
	stale := s.must(ann())
	first := stale
	first.Scopes = []string{"read"}
	after, err := s.one.Update(s.Context(), first)
	if err != nil {
		s.Fatal(err)
	}
	for what, revision := range map[string]uint64{"the one before": stale.Revision, "none": 0, "one of the future": after.Revision + 1000} {
		u := stale
		u.Disabled, u.Revision = true, revision
		_, err := s.two.Update(s.Context(), u)
		s.fails("update with revision "+what, err, issuer.ErrConflict)
	}
	s.finds("after conflicts", first)
	if got, err := s.two.Get(s.Context(), stale.Sub); err != nil || got.Revision != after.Revision {
		s.Errorf("after conflicts: got revision %d %v, want still %d", got.Revision, err, after.Revision)
	}
}

// lists demands exactly these names.
func (s *suite) lists(what string, want ...string) {
	s.Helper()
	for _, h := range []issuer.Users{s.one, s.two} {
		var names []string
		if err := h.List(s.Context(), func(u issuer.User) bool { names = append(names, u.Name); return true }); err != nil {
			s.Fatalf("%s: list: %v", what, err)
		}
		slices.Sort(names)
		want = slices.Sorted(slices.Values(want))
		if !slices.Equal(names, want) {
			s.Errorf("%s: list: got %q, want %q", what, names, want)
		}
	}
}

func (s *suite) list() {
	s.lists("empty")
	all := []issuer.User{ann(), {Sub: "b", Name: "b", Disabled: true, Created: time.UnixMilli(1).UTC()}, {Sub: "c", Name: "c", Created: time.UnixMilli(2).UTC()}}
	for _, u := range all {
		s.must(u)
	}
	s.lists("all", "Ann Ö.", "b", "c")
	err := s.one.List(s.Context(), func(u issuer.User) bool {
		n := slices.IndexFunc(all, func(w issuer.User) bool { return w.Sub == u.Sub })
		if n < 0 {
			s.Errorf("list: unknown user %+v", u)
			return true
		}
		s.same("list", u, all[n])
		return true
	})
	if err != nil {
		s.Error(err)
	}
	calls := 0
	if err := s.one.List(s.Context(), func(issuer.User) bool { calls++; return false }); err != nil || calls != 1 {
		s.Errorf("list that stops: got %d calls %v, want 1", calls, err)
	}
}

// copies: what the caller does with a user afterwards changes nothing in the store.
func (s *suite) copies() {
	u := ann()
	got := s.must(u)
	u.Scopes[0], got.Scopes[0] = "mine", "mine"
	read, err := s.one.Get(s.Context(), u.Sub)
	if err != nil {
		s.Fatal(err)
	}
	s.same("after the caller's change", read, ann())
	read.Scopes[0] = "mine"
	s.finds("after another", ann())
}

const racers = 8

// createRace: two creations of one name at once have one winner, and the others leave nothing behind.
func (s *suite) createRace() {
	var (
		mu   sync.Mutex
		won  []string
		lost []string
		all  sync.WaitGroup
	)
	for n := range racers {
		all.Go(func() {
			u, err := []issuer.Users{s.one, s.two}[n%2].Create(s.Context(), issuer.User{Sub: fmt.Sprintf("racer-%d", n), Name: []string{"Racer", "racer"}[n/2%2]})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won = append(won, u.Sub)
			case errors.Is(err, issuer.ErrUserExists):
				lost = append(lost, fmt.Sprintf("racer-%d", n))
			default:
				s.Errorf("racing creation: got %v, want ErrUserExists", err)
			}
		})
	}
	all.Wait()
	if len(won) != 1 {
		s.Fatalf("got winners %q, want one", won)
	}
	if u, err := s.two.ByName(s.Context(), "RACER"); err != nil || u.Sub != won[0] {
		s.Errorf("by name: got %q %v, want the winner %q", u.Sub, err, won[0])
	}
	for _, sub := range lost {
		_, err := s.one.Get(s.Context(), sub)
		s.fails("loser "+sub, err, issuer.ErrNoUser)
	}
}

// updateRace: no update is lost. Each racer adds its own scope under compare-and-set.
func (s *suite) updateRace() {
	start := s.must(issuer.User{Sub: "1", Name: "a"})
	var all sync.WaitGroup
	for n := range racers {
		h := []issuer.Users{s.one, s.two}[n%2]
		all.Go(func() {
			for {
				u, err := h.Get(s.Context(), start.Sub)
				if err != nil {
					s.Errorf("get: %v", err)
					return
				}
				u.Scopes = append(u.Scopes, fmt.Sprintf("scope-%d", n))
				_, err = h.Update(s.Context(), u)
				if errors.Is(err, issuer.ErrConflict) {
					continue
				}
				if err != nil {
					s.Errorf("update: got %v, want nil or ErrConflict", err)
				}
				return
			}
		})
	}
	all.Wait()
	u, err := s.one.Get(s.Context(), start.Sub)
	if err != nil {
		s.Fatal(err)
	}
	if slices.Sort(u.Scopes); len(slices.Compact(u.Scopes)) != racers {
		s.Errorf("got %q, want %d scopes", u.Scopes, racers)
	}
}

// readYourWrites: a write that was acknowledged by one handle is seen by every read of the other that begins afterwards.
func (s *suite) readYourWrites() {
	for n := range 50 {
		u := s.must(issuer.User{Sub: fmt.Sprintf("s%d", n), Name: fmt.Sprintf("n%d", n)})
		read, err := s.two.ByName(s.Context(), u.Name)
		if err != nil {
			s.Fatalf("round %d: %v", n, err)
		}
		read.Disabled = true
		if _, err := s.two.Update(s.Context(), read); err != nil {
			s.Fatalf("round %d: %v", n, err)
		}
		if again, err := s.one.Get(s.Context(), u.Sub); err != nil || !again.Disabled {
			s.Fatalf("round %d: got %+v %v, want the update of the other handle", n, again, err)
		}
	}
}
