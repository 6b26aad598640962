package issuer_test

import (
	"testing"
	"time"

	"github.com/quash-auth/quash/issuer"
)

// TestStats: what an operator watches is counted where it happens, and once.
func TestStats(t *testing.T) {
	r := start(t, server(t).URL(), func(c *issuer.Config) {
		c.LoginBurst, c.LoginEvery, c.RevokeBurst, c.RevokeEvery = 2, 24*time.Hour, 2, 24*time.Hour
	})
	ann := r.user("ann")
	r.user("root", issuer.ScopeAdmin)
	r.login("ann")
	for range 2 {
		r.want("a guess", r.tryLogin("nobody", "guess"), 401, "invalid_credentials")
	}
	r.want("a guess too many", r.tryLogin("nobody", "guess"), 429, "temporarily_unavailable")
	if err := r.Disable(within(t), ann.Sub, issuer.Cause{}); err != nil {
		t.Fatal(err)
	}
	r.want("disabled", r.tryLogin("ann", password), 403, "access_denied")
	root := r.login("root")
	for n := range 3 {
		a := r.revoke(root.Access, "token", "x")
		if want := []int{200, 200, 429}[n]; a.status != want {
			t.Errorf("revocation %d: got %d, want %d: %s", n, a.status, want, a.body)
		}
	}
	want := issuer.Stats{PasswordsRight: 3, PasswordsWrong: 2, PasswordsThrottled: 1, RevocationsThrottled: 1, Clients: 1}
	if got := r.Stats(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
