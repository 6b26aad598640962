package issuer

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/quash-auth/quash/events"
)

// adminRevocation is the body of POST /admin/revocations.
type adminRevocation struct {
	events.Revocation
	dryRun  bool
	confirm string
}

func parseAdmin(body []byte) (q adminRevocation, err error) {
	err = parseMembers(body, field{"scope", &q.Scope, false}, field{"key", &q.Key, true}, field{"reason", &q.Reason, true},
		field{"until", &q.Until, true}, field{"gen", (*positive)(&q.Gen), true}, field{"txn", &q.Txn, true}, field{"dry_run", &q.dryRun, true},
		field{"confirm", &q.confirm, true})
	if err != nil {
		return q, err
	}
	if !q.Until.IsZero() && q.Scope != events.Token { // forgotten too early, what had ended would live again
		return q, badRequest("until: is for scope token only, leave it out: the others are kept until every token they cover has died")
	}
	return q, nil
}

// confirmed: a wide statement needs a reason, and the key a second time.
func (q adminRevocation) confirmed(iss string) error {
	if !wide(q.Scope) || q.dryRun {
		return nil
	}
	name, want := "the key", q.Key
	if q.Scope == events.Issuer {
		name, want = "the issuer URL", iss
	}
	switch {
	case strings.TrimSpace(q.Reason) == "":
		return badRequest(fmt.Sprintf("reason: is required for scope %v, which ends more than one user's sessions or tokens", q.Scope))
	case q.confirm == "":
		return badRequest(fmt.Sprintf("confirm: is required for scope %v: send %s in it, %s (and dry_run: true to see first what it ends)", q.Scope, name, want))
	case q.confirm != want:
		return badRequest(fmt.Sprintf("confirm: is not %s, %s", name, want))
	}
	return nil
}

// scopeError is RFC 6750 §3.1's insufficient_scope; scope is what would do.
type scopeError struct{ scope string }

func (e *scopeError) Error() string { return "the scope " + e.scope + " is needed" }

func has(c accessClaims, scope string) bool { return slices.Contains(strings.Fields(c.Scope), scope) }

// operator accepts a bearer with one of the scopes; if it has none, the first is named as the one that is needed. What the registry
// has taken from the client since then is not among its scopes.
func (i *Issuer) operator(r *http.Request, scopes ...string) (accessClaims, error) {
	raw, err := bearer(r)
	if err != nil {
		return accessClaims{}, err
	}
	c, err := i.verify(raw)
	if err != nil {
		return accessClaims{}, err
	}
	client, _ := i.client(c.Client)
	still := client.grant(strings.Fields(c.Scope))
	if c.Session == "" {
		still = slices.DeleteFunc(still, func(s string) bool { return !slices.Contains(client.Scopes, s) })
	}
	c.Scope = strings.Join(still, " ")
	if !slices.ContainsFunc(scopes, func(s string) bool { return has(c, s) }) {
		return accessClaims{}, &scopeError{scopes[0]}
	}
	return c, nil
}

func (i *Issuer) serveAdminRevocation(w http.ResponseWriter, r *http.Request) error {
	c, err := i.operator(r, ScopeAdmin, ScopeRevoke)
	if err != nil {
		return err
	}
	q, err := readBody(r, parseAdmin)
	if err != nil {
		return err
	}
	return i.order(w, r, c, q)
}

// order does what an operator or a system asks for.
func (i *Issuer) order(w http.ResponseWriter, r *http.Request, c accessClaims, q adminRevocation) error {
	if (wide(q.Scope) || q.Gen != 0) && !has(c, ScopeAdmin) {
		return &scopeError{ScopeAdmin}
	}
	if err := q.confirmed(i.cfg.Issuer); err != nil {
		return err
	}
	q.By, q.Actor = "admin", c.Subject
	if q.Txn == "" {
		q.Txn = events.NewID()
	}
	// What is wrong with the statement must not cost its actor a turn.
	whole := q.Revocation
	whole.ID, whole.Issuer = events.NewID(), i.cfg.Issuer
	if _, err := i.complete(r.Context(), whole); err != nil {
		return err
	}
	back, err := i.limit.take(r.Context(), c.Subject, wide(q.Scope) && !q.dryRun)
	if err != nil {
		return err
	}
	if q.dryRun {
		p, err := i.preview(r.Context(), c, q.Revocation)
		if err != nil {
			return err
		}
		i.respond(w, http.StatusOK, p)
		return nil
	}
	if err := i.end(w, r, q.Revocation); err != nil {
		back(r.Context())
		return err
	}
	return nil
}

// serveAdminSessions lists living sessions of a user or a client, or of a user at a client.
func (i *Issuer) serveAdminSessions(w http.ResponseWriter, r *http.Request) error {
	c, err := i.operator(r, ScopeAdmin)
	if err != nil {
		return err
	}
	q, err := readQuery(r, "sub", "username", "client_id", "limit", "cursor")
	if err != nil {
		return err
	}
	f := filter{sub: q["sub"], client: q["client_id"]}
	switch {
	case q["username"] != "" && f.sub != "":
		return badRequest("sub and username are two ways to say the same: send one")
	case q["username"] != "":
		u, err := i.named(r.Context(), q["username"])
		if err != nil {
			return err
		}
		f.sub = u.Sub
	case f == filter{}:
		return badRequest("sub, username or client_id is required")
	}
	answer, err := i.sessionsPage(r, c, f, q, func(s *session, l *listed) { l.Subject = s.Sub })
	if err != nil {
		return err
	}
	answer.Subject = f.sub
	i.respond(w, http.StatusOK, answer)
	return nil
}
