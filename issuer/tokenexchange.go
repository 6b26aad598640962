package issuer

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

const typeAccessToken = "urn:ietf:params:oauth:token-type:access_token"

// exchangeRequest is the form of RFC 8693 §2.1, as far as it is supported.
type exchangeRequest struct {
	token, scope string
	audience     []string // audience and resource: what the new token must be good for
}

// parseExchange admits delegation in no form: the new token is the caller's own, once more.
func parseExchange(form map[string]string) (q exchangeRequest, err error) {
	switch {
	case form["subject_token"] == "":
		return q, badRequest("subject_token is required")
	case form["subject_token_type"] != typeAccessToken:
		return q, badRequest("subject_token_type must be " + typeAccessToken)
	case form["requested_token_type"] != "" && form["requested_token_type"] != typeAccessToken:
		return q, badRequest("requested_token_type must be " + typeAccessToken)
	case form["actor_token"] != "" || form["actor_token_type"] != "":
		return q, badRequest("actor_token is not supported")
	}
	for _, name := range []string{"audience", "resource"} {
		if form[name] != "" {
			q.audience = append(q.audience, form[name])
		}
	}
	q.token, q.scope = form["subject_token"], form["scope"]
	return q, nil
}

var (
	errSubjectToken = badRequest("the subject_token is not a living access token that this client may exchange") // RFC 8693 §2.2.2
	errTarget       = &fault{status: http.StatusBadRequest, code: "invalid_target", description: "the token is not for that audience"}
)

// exchangeToken gives the bearer of a living access token the next one of the same session, on the word of an API that got it
// from her: activity without a refresh token. Everything by which the session can end (sid, sub, client, gen, auth_time) is copied, so
// the new token ends with it.
func (i *Issuer) exchangeToken(ctx context.Context, q exchangeRequest, caller Client) (t issued, s *session, err error) {
	if !caller.may(GrantTokenExchange) {
		return t, nil, errGrantNotAllowed
	}
	c, kid, err := i.parse(q.token, true)
	switch {
	case errors.Is(err, ErrToken), err == nil && (c.Session == "" || !caller.maySee(c)):
		return t, nil, errSubjectToken
	case err != nil:
		return t, nil, err
	}
	if err := i.current(); err != nil {
		return t, nil, err
	}
	if i.revoked(c, kid) {
		if err := i.current(); err != nil {
			return t, nil, err
		}
		return t, nil, ErrGrant
	}
	if slices.ContainsFunc(q.audience, func(a string) bool { return !slices.Contains(c.Audience, a) }) {
		return t, nil, errTarget
	}
	asked := strings.Fields(c.Scope)
	if q.scope != "" {
		want := strings.Fields(q.scope)
		if slices.ContainsFunc(want, func(x string) bool { return !slices.Contains(asked, x) }) {
			return t, nil, errBadScope
		}
		asked = want
	}
	for range maxRounds {
		at := i.cfg.Now() // before the marks are read, see raise
		s, err := i.session(ctx, c.Session)
		if err != nil {
			return t, nil, err
		}
		if s == nil || s.State != live || s.expired(at) || s.Sub != c.Subject || s.Client != c.Client {
			return t, nil, ErrGrant
		}
		scope, err := i.stillGranted(ctx, s, asked)
		if err != nil {
			return t, nil, err
		}
		if err := i.touch(ctx, s, at); errors.Is(err, ErrConflict) {
			continue // refreshed, touched or ended meanwhile
		} else if err != nil {
			return t, nil, err
		}
		access, life, err := i.mintSession(s, scope, at)
		return issued{access, life, scope}, s, err
	}
	return t, nil, errContended
}

// touch moves the idle end as a refresh does, with at most one write a minute, or four in an idle time shorter than that.
func (i *Issuer) touch(ctx context.Context, s *session, now time.Time) error {
	idle := min(now.Add(i.cfg.RefreshIdle).Unix(), s.End)
	if idle-s.Idle < int64(min(time.Minute, i.cfg.RefreshIdle/4)/time.Second) || idle <= s.Idle {
		return nil
	}
	s.Idle = idle
	return i.writeSession(ctx, s)
}

func (i *Issuer) serveTokenExchange(w http.ResponseWriter, r *http.Request, client *Client, form map[string]string) error {
	if client == nil || client.Public {
		return errInvalidClient
	}
	q, err := parseExchange(form)
	if err != nil {
		return err
	}
	t, s, err := i.exchangeToken(r.Context(), q, *client)
	if err != nil {
		return err
	}
	now := i.cfg.Now()
	i.respond(w, http.StatusOK, struct {
		AccessToken string `json:"access_token"`
		IssuedType  string `json:"issued_token_type"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int64  `json:"expires_in"`
		Scope       string `json:"scope,omitempty"`
		SessionEnds int64  `json:"session_expires_in"` // as in tokenAnswer
		IdleEnds    int64  `json:"idle_expires_in"`
	}{t.access, typeAccessToken, "Bearer", int64(t.life / time.Second), strings.Join(t.scope, " "), left(s.End, now), left(s.Idle, now)})
	return nil
}
