package issuer

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/quash-auth/quash/cache"
)

// issued is an access token that belongs to no session, or to one that it does not prolong by a refresh token.
type issued struct {
	access string
	life   time.Duration
	scope  []string
}

var (
	errScopeForm = &fault{status: http.StatusBadRequest, code: "invalid_scope",
		description: "scope must be scope values with one space between them (RFC 6749 section 3.3)"}
	errNotListed = &fault{status: http.StatusBadRequest, code: "invalid_scope",
		description: "none of these scopes is listed for this client: ask for listed ones or for none, which gives all of them, or have the scope added to the client in the registry"}
)

// clientToken is RFC 6749 §4.4: a client gets a token for itself. It costs no look at the records: a statement that covers
// the client is in the denylist, and one that is not here yet will cover this token by its iat.
func (i *Issuer) clientToken(ctx context.Context, client Client, want string) (issued, error) {
	if !client.may(GrantClientCredentials) {
		return issued{}, errGrantNotAllowed
	}
	scope := client.Scopes
	if want != "" {
		asked := strings.Fields(want)
		if slices.ContainsFunc(asked, func(x string) bool { return !scopeToken(x) }) {
			return issued{}, errScopeForm
		}
		scope = slices.DeleteFunc(slices.Clone(client.Scopes), func(x string) bool { return !slices.Contains(asked, x) })
		if len(scope) == 0 {
			return issued{}, errNotListed
		}
	}
	sub := clientSubject + client.ID
	for range maxRounds {
		if err := i.current(); err != nil {
			return issued{}, err
		}
		now := i.cfg.Now()
		again, err := i.await(ctx, i.cutoffOf(sub, client.ID))
		if err != nil {
			return issued{}, err
		}
		if again {
			continue
		}
		access, life, err := i.mint(client.ID, now, now.Add(i.cfg.AccessLife).Unix(), accessClaims{Subject: sub}, scope)
		return issued{access, life, scope}, err
	}
	return issued{}, errContended
}

// cutoffOf is the last second that the denylist covers for a subject and a client.
func (i *Issuer) cutoffOf(sub, client string) int64 {
	cutoff := int64(0)
	if e, ok := i.deny.Lookup(cache.Subject, i.cfg.Issuer, sub); ok {
		cutoff = max(e.Before, e.GenBefore)
	}
	if e, ok := i.deny.Lookup(cache.Client, i.cfg.Issuer, client); ok {
		cutoff = max(cutoff, e.Before)
	}
	if e, ok := i.deny.Lookup(cache.Issuer, i.cfg.Issuer, ""); ok {
		cutoff = max(cutoff, e.Before)
	}
	return cutoff
}

func (i *Issuer) serveClientToken(w http.ResponseWriter, r *http.Request, client *Client, form map[string]string) error {
	if client == nil || client.Public {
		return errInvalidClient
	}
	t, err := i.clientToken(r.Context(), *client, form["scope"])
	if err != nil {
		return err
	}
	i.respond(w, http.StatusOK, struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int64  `json:"expires_in"`
		Scope       string `json:"scope,omitempty"`
	}{t.access, "Bearer", int64(t.life / time.Second), strings.Join(t.scope, " ")})
	return nil
}
