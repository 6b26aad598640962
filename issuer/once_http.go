package issuer

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/quash-auth/quash/events"
)

// onceRequest is the body of POST /admin/one-time.
type onceRequest struct {
	Once
	username string
}

func parseOnce(body []byte) (q onceRequest, err error) {
	var scope string
	var seconds positive
	err = parseMembers(body, field{"sub", &q.Subject, true}, field{"username", &q.username, true}, field{"audience", (*audience)(&q.Audience), true},
		field{"scope", &scope, true}, field{"expires_in", &seconds, true}, field{"reason", &q.Reason, true}, field{"txn", &q.Txn, true})
	switch {
	case err != nil:
		return q, err
	case seconds > positive(maxOnceLife/time.Second):
		return q, badRequest("expires_in: must be at most 3600")
	case (q.Subject == "") == (q.username == ""):
		return q, badRequest("sub or username is required, one of them")
	}
	q.Scope, q.Life = strings.Fields(scope), time.Duration(seconds)*time.Second
	return q, nil
}

// serveOnce mints a one-time token. Whoever has only the scope quash.once mints within the limits of the client through which it
// has it: its audiences, and the scopes that are listed for it.
func (i *Issuer) serveOnce(w http.ResponseWriter, r *http.Request) error {
	c, err := i.operator(r, ScopeAdmin, ScopeOnce)
	if err != nil {
		return err
	}
	q, err := readBody(r, parseOnce)
	if err != nil {
		return err
	}
	q.Client, q.Actor = c.Client, c.Subject
	if q.Txn == "" {
		q.Txn = events.NewID()
	}
	if !has(c, ScopeAdmin) {
		if err := i.withinClient(q.Once); err != nil {
			return err
		}
	}
	if q.username != "" {
		u, err := i.named(r.Context(), q.username)
		if err != nil {
			return err
		}
		q.Subject = u.Sub
	}
	m, err := i.MintOnce(r.Context(), q.Once)
	if errors.Is(err, ErrNoUser) {
		return errNoAccount
	}
	if err != nil {
		return err
	}
	i.respond(w, http.StatusOK, struct {
		Token   string `json:"access_token"`
		Type    string `json:"token_type"`
		Expires int64  `json:"expires_in"`
		Scope   string `json:"scope"`
		ID      string `json:"jti"`
		Txn     string `json:"txn"`
	}{m.Token, "Bearer", int64(m.Expires.Sub(i.cfg.Now()) / time.Second), strings.Join(q.Scope, " "), m.ID, q.Txn})
	return nil
}

func (i *Issuer) withinClient(o Once) error {
	client, _ := i.client(o.Client)
	for _, s := range o.Scope {
		if !slices.Contains(client.Scopes, s) {
			return &fault{status: http.StatusBadRequest, code: "invalid_scope",
				description: "with quash.once only scopes that are listed for the client can be given"}
		}
	}
	for _, a := range o.Audience {
		if !slices.Contains(i.audience(client), a) {
			return &fault{status: http.StatusBadRequest, code: "invalid_target",
				description: "with quash.once only audiences of the client can be named"}
		}
	}
	return nil
}
