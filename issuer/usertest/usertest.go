// Package usertest is the contract of issuer.Users as tests: every sentence of the interface's comments. A team that keeps its
// accounts elsewhere runs it against its own store:
//
//	func TestUsers(t *testing.T) {
//		usertest.Run(t, func(t *testing.T) issuer.Users { return openEmptyStore(t) })
//	}
package usertest

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/quash-auth/quash/issuer"
)

// Run tests a store. open returns an empty one at each call and closes it at the end of its test. Within one test the store
// is used by many goroutines.
func Run(t *testing.T, open func(t *testing.T) issuer.Users) {
	RunTwo(t, func(t *testing.T) (issuer.Users, issuer.Users) {
		s := open(t)
		return s, s
	})
}

// RunTwo is Run for a store that several replicas share: open returns two handles of one empty store, as two processes would
// have them.
func RunTwo(t *testing.T, open func(t *testing.T) (one, two issuer.Users)) {
	for _, c := range []struct {
		name string
		test func(*suite)
	}{
		{"Create", (*suite).create}, {"CreateRefuses", (*suite).createRefuses}, {"CreateTaken", (*suite).createTaken},
		{"Names", (*suite).names}, {"Case", (*suite).fold}, {"Subjects", (*suite).subjects}, {"Unknown", (*suite).unknown},
		{"Update", (*suite).update}, {"UpdateRefuses", (*suite).updateRefuses}, {"Conflict", (*suite).conflict},
		{"List", (*suite).list}, {"Copies", (*suite).copies},
		{"CreateRace", (*suite).createRace}, {"UpdateRace", (*suite).updateRace}, {"ReadYourWrites", (*suite).readYourWrites},
		{"Context", (*suite).context},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &suite{T: t}
			s.one, s.two = open(t)
			c.test(s)
		})
	}
}

type suite struct {
	*testing.T
	one, two issuer.Users
}

// patience is a limit for broken stores. What is tested is not how fast one is.
const patience = 3 * time.Minute

// Context has a deadline: without one a store may choose a short one.
func (s *suite) Context() context.Context {
	ctx, cancel := context.WithTimeout(s.T.Context(), patience)
	s.Cleanup(cancel)
	return ctx
}

const hash = "$argon2id$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

func ann() issuer.User {
	return issuer.User{Sub: "sub.1|ann", Name: "Ann Ö.", PasswordHash: hash, Scopes: []string{"read", "write"},
		Created: time.UnixMilli(1_700_000_000_123).UTC()}
}

// must stores a user.
func (s *suite) must(u issuer.User) issuer.User {
	s.Helper()
	got, err := s.one.Create(s.Context(), u)
	if err != nil {
		s.Fatalf("create %q: %v", u.Name, err)
	}
	return got
}

// same compares all but the revision.
func (s *suite) same(what string, got, want issuer.User) {
	s.Helper()
	got.Revision, want.Revision = 0, 0
	if len(got.Scopes) == 0 && len(want.Scopes) == 0 {
		got.Scopes, want.Scopes = nil, nil
	}
	if !got.Created.Equal(want.Created) {
		s.Errorf("%s: created %v, want %v", what, got.Created, want.Created)
	}
	got.Created, want.Created = time.Time{}, time.Time{}
	if !reflect.DeepEqual(got, want) {
		s.Errorf("%s: got %+v, want %+v", what, got, want)
	}
}

func (s *suite) fails(what string, err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// finds reads a user both ways on both handles.
func (s *suite) finds(what string, want issuer.User) {
	s.Helper()
	for _, h := range []issuer.Users{s.one, s.two} {
		got, err := h.Get(s.Context(), want.Sub)
		if err != nil {
			s.Errorf("%s: get: %v", what, err)
			continue
		}
		s.same(what+": get", got, want)
		byName, err := h.ByName(s.Context(), want.Name)
		if err != nil {
			s.Errorf("%s: by name: %v", what, err)
			continue
		}
		s.same(what+": by name", byName, want)
		if got.Revision != byName.Revision {
			s.Errorf("%s: get says revision %d, by name %d", what, got.Revision, byName.Revision)
		}
	}
}

func (s *suite) context() {
	s.must(ann())
	ended, cancel := context.WithCancel(s.Context())
	cancel()
	for what, f := range map[string]func() error{
		"create":  func() error { _, err := s.one.Create(ended, issuer.User{Sub: "x", Name: "x"}); return err },
		"get":     func() error { _, err := s.one.Get(ended, ann().Sub); return err },
		"by name": func() error { _, err := s.one.ByName(ended, ann().Name); return err },
		"list":    func() error { return s.one.List(ended, func(issuer.User) bool { return true }) },
	} {
		err := f()
		if err == nil || errors.Is(err, issuer.ErrNoUser) || errors.Is(err, issuer.ErrUserExists) || errors.Is(err, issuer.ErrConflict) {
			s.Errorf("%s with an ended context: got %v, want an error that promises nothing", what, err)
		}
	}
}
