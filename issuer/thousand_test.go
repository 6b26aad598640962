package issuer_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// TestThousandSessionsOneStatement: a user with 1,000 sessions costs what a user with one costs, and all of them are over.
func TestThousandSessionsOneStatement(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL())
	u := r.user("ann")
	r.user("bob")
	s := r.login("ann")
	kept := r.login("bob")
	slow, cancel := context.WithTimeout(t.Context(), 4*deadline)
	defer cancel()
	tokens, err := issuer.MakeSessions(slow, r.Issuer, u.Sub, "quash", 999)
	if err != nil {
		t.Fatal(err)
	}
	r.want("one of them", r.refresh(tokens[500]), 200, "")
	before, err := issuer.Writes(within(t), r.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	r.want("logout of all", r.bearer("/logout-all", s.Access, ""), 200, "")
	after, err := issuer.Writes(within(t), r.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	if n := r.published(events.Subject, u.Sub); n != 1 || len(r.statements()) != 1 {
		t.Errorf("got %d statements, want 1", len(r.statements()))
	}
	if after-before > 8 {
		t.Errorf("got %d writes for 1,000 sessions, want the few that one session costs", after-before)
	}
	r.dead("the access token", s.Access)
	for token := range slices.Values(tokens) {
		if sid, _, _ := strings.Cut(token, "."); sid[0] < 'H' { // some hundred of them
			r.want("a refresh", r.refresh(token), 400, "invalid_grant")
		}
	}
	r.alive("somebody else", kept.Access)
}
