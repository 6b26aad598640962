package verifiertest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/leaks"
	"github.com/quash-auth/quash/verifier"
	"github.com/quash-auth/quash/verifier/verifiertest"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func TestMintIsAccepted(t *testing.T) {
	iss := verifiertest.New(t)
	token, err := iss.Verifier().Verify(t.Context(), iss.Mint())
	if err != nil {
		t.Fatal(err)
	}
	if token.Issuer != verifiertest.IssuerURL || token.Subject != "user-1" || token.Session != "session-1" || token.Client != "client-1" ||
		token.ID == "" || token.HasGen || !token.Expires.Equal(iss.Now().Add(5*time.Minute)) || !token.IssuedAt.Equal(iss.Now()) {
		t.Errorf("got %+v", token)
	}
	token, err = iss.Verifier().Verify(t.Context(), iss.Mint(verifiertest.Subject("a"), verifiertest.Session("b"), verifiertest.ID("c"),
		verifiertest.Client("d"), verifiertest.Scope("e", "f"), verifiertest.Gen(7), verifiertest.Life(time.Minute),
		verifiertest.Age(time.Minute), verifiertest.Audience("x", verifiertest.APIAudience), verifiertest.With("g", "h")))
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(token.Subject, token.Session, token.ID, token.Client, token.Scope, token.Gen, token.Expires.Sub(token.IssuedAt), len(token.Audience))
	if got != "a b c d [e f] 7 2m0s 2\n" || !strings.Contains(string(token.Claims()), `"g":"h"`) {
		t.Errorf("got %s with claims %s", got, token.Claims())
	}
}

func TestRevokeEveryScope(t *testing.T) {
	for _, scope := range events.Scopes() {
		t.Run(scope.String(), func(t *testing.T) {
			t.Parallel()
			iss := verifiertest.New(t)
			raw := iss.Mint(verifiertest.ID("jti"))
			verify := func(raw string) error {
				_, err := iss.Verifier().Verify(t.Context(), raw)
				return err
			}
			if err := verify(raw); err != nil {
				t.Fatal(err)
			}
			key := map[events.Scope]string{events.Token: "jti", events.Session: "session-1", events.Subject: "user-1",
				events.Client: "client-1", events.Key: iss.KeyID()}[scope]
			iss.Revoke(events.Revocation{Scope: scope, Key: key})
			if err := verify(raw); !errors.Is(err, verifier.ErrRevoked) {
				t.Errorf("got %v, want ErrRevoked", err)
			}
			iss.Advance(time.Second)
			fresh := iss.Mint(verifiertest.Session("session-2"))
			// A key is covered whole, for whoever has it writes the iat he likes.
			if err := verify(fresh); errors.Is(err, verifier.ErrRevoked) != (scope == events.Key) {
				t.Errorf("a token of the next second: %v", err)
			}
		})
	}
}

func TestClock(t *testing.T) {
	start := time.Unix(1_900_000_000, 0)
	iss := verifiertest.New(t, verifiertest.WithStart(start))
	raw := iss.Mint()
	if _, err := iss.Verifier().Verify(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	iss.Advance(time.Hour)
	if !iss.Now().Equal(start.Add(time.Hour)) {
		t.Errorf("got %v", iss.Now())
	}
	if _, err := iss.Verifier().Verify(t.Context(), raw); !errors.Is(err, verifier.ErrExpired) {
		t.Errorf("got %v, want ErrExpired", err)
	}
}

func TestStale(t *testing.T) {
	iss := verifiertest.New(t)
	raw := iss.Mint()
	for _, stale := range []bool{true, false, true} {
		iss.SetStale(stale)
		if _, err := iss.Verifier().Verify(t.Context(), raw); errors.Is(err, verifier.ErrStale) != stale {
			t.Errorf("stale %v: got %v", stale, err)
		}
		if err := iss.Verifier().Ready(); (err != nil) != stale {
			t.Errorf("stale %v: Ready is %v", stale, err)
		}
	}
	allow := verifiertest.New(t, verifiertest.WithConfig(func(c *verifier.Config) { c.OnStale = verifier.Allow }))
	allow.SetStale(true)
	if _, err := allow.Verifier().Verify(t.Context(), allow.Mint()); err != nil {
		t.Errorf("policy Allow: %v", err)
	}
}

// failing records what Fatalf is told.
type failing struct {
	verifiertest.Script
	said string
}

func (f *failing) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	panic(f)
}

func TestMistakesEndTheTest(t *testing.T) {
	for name, do := range map[string]func(tb verifiertest.TB){
		"config": func(tb verifiertest.TB) {
			verifiertest.New(tb, verifiertest.WithConfig(func(c *verifier.Config) { c.Issuers = nil }))
		},
		"revocation": func(tb verifiertest.TB) { verifiertest.New(tb).Revoke(events.Revocation{Scope: events.Session}) },
		"claim":      func(tb verifiertest.TB) { verifiertest.New(tb).Mint(verifiertest.With("x", make(chan int))) },
	} {
		f := new(failing)
		func() {
			defer f.Close()
			defer func() {
				if r := recover(); r != nil && r != any(f) {
					panic(r)
				}
			}()
			do(f)
		}()
		if !strings.HasPrefix(f.said, "verifiertest: ") {
			t.Errorf("%s: got %q, want a mistake to be reported", name, f.said)
		}
	}
}
