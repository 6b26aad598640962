package issuer_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// TestScopesTakenTwice: a removal that was cut off before the sessions ended ends them when it is repeated, although there is
// nothing left to remove.
func TestScopesTakenTwice(t *testing.T) {
	t.Parallel()
	r, _ := unrepaired(t)
	u := r.user("ann", "read", "write")
	s := r.login("ann")
	remove := func() error {
		return r.ChangeScopes(within(t), u.Sub, issuer.ScopeChange{Remove: []string{"write"}}, issuer.Cause{})
	}
	issuer.SetFault(r.Issuer, func(string) error { return errCrash })
	if err := remove(); !errors.Is(err, errCrash) {
		t.Fatalf("got %v, want the crash", err)
	}
	issuer.SetFault(r.Issuer, nil)
	if got, err := r.Users().Get(within(t), u.Sub); err != nil || slices.Contains(got.Scopes, "write") {
		t.Fatalf("got %v %v: the cut was not after the change", got.Scopes, err)
	}
	if err := remove(); err != nil {
		t.Fatal(err)
	}
	r.dead("after the repetition", s.Access)
	before := r.published(events.Subject, u.Sub)
	if err := remove(); err != nil {
		t.Fatal(err)
	}
	if n := r.published(events.Subject, u.Sub); n != before {
		t.Errorf("got %d statements for a scope that is not there, want none", n-before)
	}
}

// TestScopesAtOnce: of many operators at once none undoes what another has done.
func TestScopesAtOnce(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL())
	const n = 4
	var had []string
	for k := range n {
		had = append(had, fmt.Sprint("old", k))
	}
	u := r.user("ann", had...)
	s := r.login("ann")
	var all sync.WaitGroup
	for k := range n {
		for _, c := range []issuer.ScopeChange{{Add: []string{fmt.Sprint("new", k)}}, {Remove: []string{fmt.Sprint("old", k)}}} {
			all.Go(func() {
				for {
					err := r.ChangeScopes(t.Context(), u.Sub, c, issuer.Cause{})
					if errors.Is(err, issuer.ErrUnavailable) {
						continue // contended: it may be sent again
					}
					if err != nil {
						t.Error(err)
					}
					return
				}
			})
		}
	}
	all.Wait()
	got, err := r.Users().Get(within(t), u.Sub)
	slices.Sort(got.Scopes)
	if err != nil || !slices.Equal(got.Scopes, []string{"new0", "new1", "new2", "new3"}) {
		t.Errorf("got %v %v, want the new ones and no old one", got.Scopes, err)
	}
	r.dead("with what was taken", s.Access)
}
