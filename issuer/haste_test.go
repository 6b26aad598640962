package issuer_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quash-auth/quash/issuer"
)

// TestOneUserCannotFloodTheStream: every renewal by cookie and every revoked access token is a statement on every node. One account
// must not be able to fill the stream with them: then nobody's session could be ended any more.
func TestOneUserCannotFloodTheStream(t *testing.T) {
	c := &stopped{at: time.Now().Truncate(time.Second)}
	r := start(t, server(t).URL(), withCookies, func(cfg *issuer.Config) {
		cfg.Now, cfg.MaxStaleness, cfg.OwnBurst, cfg.OwnEvery = c.now, time.Hour, 3, time.Second
	})
	r.user("ann")
	r.user("bob")
	b := r.tab()
	b.login("ann")
	s := r.login("ann")
	for range 2 {
		b.got("renewal", b.refresh())
		if s = r.refresh(s.Refresh); s.status != 200 {
			t.Fatalf("refresh: got %d %s", s.status, s.raw)
		}
	}
	r.want("revoke an access token", r.form("/revoke", "token", s.Access), 200, "")
	if n := len(r.statements()); n != 3 {
		t.Fatalf("got %d statements, want 3", n)
	}
	for range 20 {
		a := b.refresh()
		b.want("one renewal too many", a, 429, "temporarily_unavailable")
		if a.header.Get("Retry-After") != "1" {
			t.Errorf("Retry-After: got %q, want 1", a.header.Get("Retry-After"))
		}
		s = r.refresh(s.Refresh) // leaves no statement
		r.want("refresh", s, 200, "")
		r.want("one revocation too many", r.form("/revoke", "token", s.Access), 429, "temporarily_unavailable")
		r.alive("what was not revoked", s.Access)
	}
	if s := r.Stats(); s.TokensHasty != 40 || s.LoginsHasty != 0 || s.PasswordsThrottled != 0 {
		t.Errorf("got %+v, want 40 hasty tokens", s)
	}
	if n := len(r.statements()); n != 3 {
		t.Errorf("got %d statements, want 3", n)
	}
	other := r.tab()
	other.login("bob")
	other.got("somebody else's renewal", other.refresh())
	r.set(c, c.now().Add(time.Second))
	b.got("the cookie that had to wait", b.refresh())
	// What ends a session is never refused: there is no more of that than of logins.
	r.want("revoke a refresh token", r.form("/revoke", "token", s.Refresh), 200, "")
	b.want("logout", b.logout(), 200, "")
}

// TestOneUserCannotTakeAllHashes: a right password is no attempt to be slowed as a guess, but it costs a hash and leaves a session.
func TestOneUserCannotTakeAllHashes(t *testing.T) {
	c := &stopped{at: time.Now().Truncate(time.Second)}
	r := start(t, server(t).URL(), applications, func(cfg *issuer.Config) {
		cfg.Now, cfg.MaxStaleness, cfg.OwnBurst, cfg.OwnEvery = c.now, time.Hour, 3, 10*time.Second
	})
	r.user("ann", "read")
	r.user("bob")
	carl := r.user("carl")
	var hashes atomic.Int64
	issuer.OnDerive(r.Issuer, func(issuer.Argon2) { hashes.Add(1) })
	for range 5 { // others' guesses take nothing from her
		r.want("a wrong password", r.tryLogin("Ann", "wrong"), 401, "invalid_credentials")
	}
	r.login("ann")
	r.login("ANN")
	f := newFlow()
	r.browser().code(f, "ann")
	was := hashes.Load()
	for range 10 {
		a := r.tryLogin("ann", password)
		r.want("one login too many", a, 429, "temporarily_unavailable")
		if a.header.Get("Retry-After") != "10" {
			t.Errorf("Retry-After: got %q, want 10", a.header.Get("Retry-After"))
		}
		b := r.browser()
		if p := b.fill(b.open(f), "ann", password); p.status != http.StatusTooManyRequests || !strings.Contains(p.text(), "Wait 10 seconds") {
			t.Errorf("the login page: got %d %s", p.status, p.text())
		}
	}
	if n := hashes.Load() - was; n != 0 {
		t.Errorf("got %d hashes for refused logins, want none", n)
	}
	r.login("bob")
	if err := r.Disable(within(t), carl.Sub, issuer.Cause{Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r.want("a disabled account", r.tryLogin("carl", password), 403, "access_denied")
	}
	r.want("a disabled account too often", r.tryLogin("carl", password), 429, "temporarily_unavailable")
	if s := r.Stats(); s.LoginsHasty != 21 || s.PasswordsThrottled != 0 || s.PasswordsWrong != 5 {
		t.Errorf("got %+v, want 21 hasty logins, none of them a throttled guess", s)
	}
	r.set(c, c.now().Add(10*time.Second))
	r.want("after a while", r.tryLogin("ann", password), 200, "")
}

// TestRenewalsLeaveNoIndex: lists of sessions read every index record, and a page of a browser renews hundreds of times.
func TestRenewalsLeaveNoIndex(t *testing.T) {
	r := start(t, server(t).URL(), withCookies)
	r.user("ann")
	b := r.tab()
	b.login("ann")
	for range 5 {
		b.refresh()
	}
	last := b.refresh()
	keys, err := issuer.IndexKeys(within(t), r.Issuer)
	if err != nil || len(keys) != 1 || !strings.HasSuffix(keys[0], "."+last.Sid) {
		t.Errorf("got index records %q, %v, want the newest session's", keys, err)
	}
}
