package issuer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/quash-auth/quash/issuer"
)

// TestS12_ClockSkewOfIssuers: of two replicas one has a clock that is wrong by two minutes, in either direction: a subject that
// one revokes the other refuses, and a fresh login at either is accepted by both, as is its refresh. MaxStaleness has to
// allow for the skew: a replica whose clock is ahead cannot tell its own error from silence.
func TestS12_ClockSkewOfIssuers(t *testing.T) {
	t.Parallel()
	skewed := func(d time.Duration) func(*issuer.Config) {
		return func(c *issuer.Config) {
			c.Now, c.MaxStaleness = func() time.Time { return time.Now().Add(d) }, 3*time.Minute
		}
	}
	for _, at := range []struct{ one, two time.Duration }{{-2 * time.Minute, 0}, {2 * time.Minute, 0}, {0, 2 * time.Minute}, {0, -2 * time.Minute}} {
		n := server(t)
		one := start(t, n.URL(), skewed(at.one))
		cfg := one.cfg
		skewed(at.two)(&cfg)
		two := startWith(t, n.URL(), cfg)
		one.user("root", issuer.ScopeAdmin)
		u := one.user("ann")
		for _, pair := range [][2]*rig{{one, two}, {two, one}} {
			what := fmt.Sprintf("clocks %v and %v", at.one, at.two)
			here, there := pair[0], pair[1]
			admin := here.login("root").Access
			old := here.login("ann")
			there.alive(what+": a login of the other replica", old.Access)
			here.want(what+": revoke", here.revoke(admin, "subject", u.Sub), 200, "")
			here.dead(what+": here", old.Access)
			until(t, what+": the other replica refuses as well", func() bool { return issuer.Verify(there.Issuer, old.Access) != nil })
			there.want(what+": refresh of the revoked session", there.refresh(old.Refresh), 400, "invalid_grant")
			for _, r := range pair {
				fresh := r.login("ann")
				here.alive(what+": a fresh login", fresh.Access)
				there.alive(what+": a fresh login at the other replica", fresh.Access)
				next := there.refresh(fresh.Refresh)
				there.want(what+": its refresh", next, 200, "")
				here.alive(what+": what the refresh gave", next.Access)
			}
		}
	}
}

// TestS12_AheadOfTheBound: a replica whose clock is ahead by more than MaxStaleness says that it cannot judge. It never refuses.
func TestS12_AheadOfTheBound(t *testing.T) {
	t.Parallel()
	n := server(t)
	r := start(t, n.URL())
	r.user("ann")
	s := r.login("ann")
	ahead := &clock{}
	cfg := r.cfg
	cfg.Now = ahead.now
	two := startWith(t, n.URL(), cfg)
	ahead.advance(2 * time.Minute)
	two.want("login", two.tryLogin("ann", password), 503, "temporarily_unavailable")
	two.want("refresh", two.refresh(s.Refresh), 503, "temporarily_unavailable")
	two.want("logout", two.bearer("/logout", s.Access, ""), 503, "temporarily_unavailable")
	r.want("at the right clock", r.refresh(s.Refresh), 200, "")
}
