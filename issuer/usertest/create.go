package usertest

import (
	"fmt"
	"strings"
	"time"

	"github.com/quash-auth/quash/issuer"
)

func (s *suite) create() {
	full := ann()
	s.same("created", s.must(full), full)
	s.finds("created", full)
	bare := issuer.User{Sub: "2", Name: "b", Created: time.UnixMilli(1).UTC()}
	s.same("created bare", s.must(bare), bare)
	s.finds("bare", bare)
	barred := issuer.User{Sub: "3", Name: "c", Disabled: true, Created: time.UnixMilli(2).UTC()}
	s.same("created disabled", s.must(barred), barred)
	s.finds("disabled", barred)
	got, err := s.one.Create(s.Context(), issuer.User{Sub: "4", Name: "d", Revision: 77})
	if err != nil {
		s.Fatalf("create with a revision, which means nothing: %v", err)
	}
	if read, err := s.two.Get(s.Context(), "4"); err != nil || read.Revision != got.Revision {
		s.Errorf("got revision %d %v, want the %d that create returned", read.Revision, err, got.Revision)
	}
}

func (s *suite) createRefuses() {
	for what, bad := range map[string]issuer.User{
		"no sub": {Name: "x"}, "no name": {Sub: "x"}, "a sub with space": {Sub: "a b", Name: "x"}, "a long sub": {Sub: strings.Repeat("s", 257), Name: "x"},
		"a client's sub": {Sub: "client:x", Name: "x"}, "a name that begins with space": {Sub: "x", Name: " x"},
		"a name that ends with space": {Sub: "x", Name: "x\u00a0"}, "a name with a line break": {Sub: "x", Name: "a\nb"},
		"a name with a zero": {Sub: "x", Name: "a\x00b"}, "a long name": {Sub: "x", Name: strings.Repeat("n", 257)},
		"a name that is not UTF-8": {Sub: "x", Name: "a\xff"}, "a scope with space": {Sub: "x", Name: "x", Scopes: []string{"a b"}},
		"an empty scope": {Sub: "x", Name: "x", Scopes: []string{""}}, "a password in clear": {Sub: "x", Name: "x", PasswordHash: "plain"},
	} {
		_, err := s.one.Create(s.Context(), bad)
		s.fails("create with "+what, err, issuer.ErrUser)
	}
	s.lists("after refusals")
}

func (s *suite) createTaken() {
	a := s.must(ann())
	for what, clash := range map[string]issuer.User{
		"the same name": {Sub: "other", Name: a.Name}, "the name in another case": {Sub: "other", Name: "ANN ö."}, "the same sub": {Sub: a.Sub, Name: "other"},
	} {
		_, err := s.two.Create(s.Context(), clash)
		s.fails("create with "+what, err, issuer.ErrUserExists)
	}
	s.finds("the first", a)
	_, err := s.one.ByName(s.Context(), "other")
	s.fails("the name of a refused creation", err, issuer.ErrNoUser)
	_, err = s.one.Get(s.Context(), "other")
	s.fails("the sub of a refused creation", err, issuer.ErrNoUser)
	s.must(issuer.User{Sub: "other", Name: "other"}) // nothing was left behind that takes them
	a.Disabled = true
	if _, err := s.one.Update(s.Context(), a); err != nil {
		s.Fatal(err)
	}
	_, err = s.one.Create(s.Context(), issuer.User{Sub: "third", Name: a.Name})
	s.fails("the name of a disabled user", err, issuer.ErrUserExists)
}

// hostile names are names like any other.
func hostile() []string {
	return []string{
		"*", ">", "a.*", "a.>", ".", "..", "a.b", ".a", "a..b", "a b", "a  b", "a/b", `a\b`, "%2e%2e%2f", "$KV.X", "_INBOX.a", "u.a", "n.a",
		"'; DROP TABLE users; --", `"quoted"`, "`", "{}", "null", "0", "-", "=", "a+b@example.org", "a:b", "a|b", "a#b", "a?b&c=d",
		"名前", "имя", "🙂", "e\u0301", "\u00e9", "a\u200bb", "\u202eabc", strings.Repeat("n", 256), strings.Repeat("é", 128), strings.Repeat("*", 256),
	}
}

func (s *suite) names() {
	want := map[string]string{}
	for n, name := range hostile() {
		sub := fmt.Sprintf("sub-%d", n)
		s.must(issuer.User{Sub: sub, Name: name})
		want[name] = sub
	}
	for name, sub := range want {
		for _, h := range []issuer.Users{s.one, s.two} {
			if got, err := h.ByName(s.Context(), name); err != nil || got.Sub != sub || got.Name != name {
				s.Errorf("by name %q: got %q of %q %v, want %q", name, got.Sub, got.Name, err, sub)
			}
		}
	}
	s.lists("all", hostile()...)
}

// fold: two names that differ in case only are the same name; no others are.
func (s *suite) fold() {
	u := s.must(issuer.User{Sub: "1", Name: "Ann ÖΣ"})
	for _, name := range []string{"Ann ÖΣ", "ann öσ", "ANN ÖΣ", "ann öς"} {
		got, err := s.two.ByName(s.Context(), name)
		if err != nil {
			s.Errorf("by name %q: %v", name, err)
			continue
		}
		s.same("by name "+name, got, u)
	}
	for _, name := range []string{"Ann OΣ", "Ann  ÖΣ", "Ann", "Ann O\u0308Σ", "Ann ÖΣ.", "Ａnn ÖΣ", "A.nn ÖΣ", "Ann\u00a0ÖΣ", "Ann\u200b ÖΣ", "ann os"} {
		_, err := s.one.ByName(s.Context(), name)
		s.fails("by name "+name, err, issuer.ErrNoUser)
	}
}

// subjects are exact: case counts, and no character means anything.
func (s *suite) subjects() {
	subs := []string{"a", "A", "a.b", "*", ">", "a.*", "a/b", "..", "%", `"`, "'", "a|b", "a:b", strings.Repeat("s", 256)}
	for n, sub := range subs {
		s.must(issuer.User{Sub: sub, Name: fmt.Sprintf("name-%d", n)})
	}
	for n, sub := range subs {
		if got, err := s.two.Get(s.Context(), sub); err != nil || got.Sub != sub || got.Name != fmt.Sprintf("name-%d", n) {
			s.Errorf("get %q: got %q of %q %v", sub, got.Sub, got.Name, err)
		}
	}
}

func (s *suite) unknown() {
	s.must(ann())
	for _, sub := range []string{"", "other", "a b", "*", ">", "SUB.1|ANN", "sub.1|ann ", "sub", "\xff", strings.Repeat("s", 10_000)} {
		_, err := s.one.Get(s.Context(), sub)
		s.fails(fmt.Sprintf("get %.40q", sub), err, issuer.ErrNoUser)
	}
	for _, name := range []string{"", "nobody", "*", ">", "Ann*", "\xff", "a\x00", " Ann Ö.", strings.Repeat("n", 10_000)} {
		_, err := s.one.ByName(s.Context(), name)
		s.fails(fmt.Sprintf("by name %.40q", name), err, issuer.ErrNoUser)
	}
}
