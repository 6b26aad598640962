package issuer

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/strictjson"
)

// tokenAnswer is RFC 6749 §5.1, and when the session ends.
type tokenAnswer struct {
	AccessToken  string `json:"access_token,omitempty"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	Scope        string `json:"scope,omitempty"`
	Session      string `json:"sid"`
	SessionEnds  int64  `json:"session_expires_in"` // seconds, whatever the client does
	IdleEnds     int64  `json:"idle_expires_in"`    // seconds, unless it refreshes
}

func (i *Issuer) tokens(w http.ResponseWriter, g *grant) error {
	now := i.cfg.Now()
	a := tokenAnswer{
		AccessToken: g.access, TokenType: "Bearer", ExpiresIn: int64(g.life / time.Second), RefreshToken: g.refresh, IDToken: g.identity,
		Scope: strings.Join(g.scope, " "), Session: g.session.sid, SessionEnds: left(g.session.End, now), IdleEnds: left(g.session.Idle, now),
	}
	if g.cookies {
		if err := i.cfg.Cookies.set(w, g, now); err != nil {
			return err
		}
		a.AccessToken, a.RefreshToken = "", "" // no script gets to see them
	}
	i.respond(w, http.StatusOK, a)
	return nil
}

// loginRequest is the body of POST /login.
type loginRequest struct {
	username, password, client string
	cookies                    bool
}

func parseLogin(body []byte) (q loginRequest, err error) {
	err = strictjson.Object(body, func(name string, raw []byte) error {
		var dst *string
		switch name {
		case "username":
			dst = &q.username
		case "password":
			dst = &q.password
		case "client_id":
			dst = &q.client
		case "cookies":
			var err error
			if q.cookies, err = strictjson.Bool(raw); err != nil {
				return badRequest("cookies: must be true or false")
			}
			return nil
		default:
			return badRequest("unknown member, there are username, password, client_id and cookies")
		}
		text, err := strictjson.String(raw)
		if err != nil {
			return badRequest(name + ": must be a string")
		}
		*dst = text
		return nil
	})
	switch {
	case err != nil:
		return q, jsonError(err)
	case q.username == "" || q.password == "":
		return q, badRequest("username and password are required")
	case len(q.username) > 256 || len(q.password) > maxPassword:
		return q, badRequest("username or password is too long")
	}
	return q, nil
}

func jsonError(err error) error {
	var f *fault
	if errors.As(err, &f) {
		return f
	}
	return badRequest("the body is not one strict JSON object")
}

func (i *Issuer) serveLogin(w http.ResponseWriter, r *http.Request) error {
	q, err := readBody(r, parseLogin)
	if err != nil {
		return err
	}
	p, err := i.byCookie(r, q.cookies)
	if err != nil {
		return err
	}
	client, err := i.authenticate(r, q.client, "")
	if err != nil {
		return err
	}
	if client == nil {
		c, ok := i.defaultClient()
		if !ok {
			return errInvalidClient
		}
		client = &c
	}
	if !client.may(GrantLogin) {
		return errGrantNotAllowed
	}
	from := i.origin(r)
	if from.replaces, err = i.possessed(r.Context(), p); err != nil {
		return err
	}
	g, err := i.login(r.Context(), q.username, q.password, *client, from)
	if err != nil {
		return err
	}
	i.log.Info("login", "sub", g.session.Sub, "client", client.ID, "sid", g.session.sid)
	if g.cookies = q.cookies; p.any() && !g.cookies {
		i.cfg.Cookies.clear(w) // their sessions are over
	}
	return i.tokens(w, g)
}

func (i *Issuer) serveToken(w http.ResponseWriter, r *http.Request) error {
	form, client, err := i.clientForm(r)
	if err != nil {
		return err
	}
	switch form["grant_type"] {
	case GrantRefresh:
		return i.serveRefresh(w, r, client, form)
	case GrantClientCredentials:
		return i.serveClientToken(w, r, client, form)
	case GrantAuthorizationCode:
		return i.serveExchange(w, r, client, form)
	case GrantTokenExchange:
		return i.serveTokenExchange(w, r, client, form)
	case "":
		return badRequest("grant_type is required")
	}
	return &fault{status: http.StatusBadRequest, code: "unsupported_grant_type", description: "see grant_types_supported"}
}

var errOtherClient = &fault{status: http.StatusBadRequest, code: "unauthorized_client", description: "the token was issued to another client"}

// serveRevoke is RFC 7009. The hint is not needed to tell the two kinds apart, so a wrong one does no harm. A refresh token
// ends its session; an access token ends itself alone.
func (i *Issuer) serveRevoke(w http.ResponseWriter, r *http.Request) error {
	form, client, err := i.clientForm(r)
	if err != nil {
		return err
	}
	raw := form["token"]
	if raw == "" {
		return badRequest("token is required")
	}
	done := func() error {
		i.respond(w, http.StatusOK, struct{}{})
		return nil
	}
	statement := events.Revocation{By: "user", Reason: "token revoked by its client"}
	if sid, secret, ok := parseRefreshToken(raw); ok {
		s, err := i.session(r.Context(), sid)
		if err != nil {
			return err
		}
		if s == nil || !s.madeHere(secret) || s.State == ended && s.Next == "" {
			return done()
		}
		if !i.mayUse(s, client) {
			return errOtherClient
		}
		statement.Scope, statement.Key, statement.Actor = events.Session, sid, s.Sub
	} else {
		c, kid, err := i.parseAny(raw, false)
		if err != nil || c.Expires <= i.cfg.Now().Unix() || i.revoked(c, kid) && i.current() == nil {
			return done() // unknown, expired or revoked already
		}
		if owner, ok := i.client(c.Client); client != nil && client.ID != c.Client || client == nil && !(ok && owner.Public) {
			return errOtherClient
		}
		if err := i.haste.token(c.Subject); err != nil {
			return err
		}
		statement.Scope, statement.Key, statement.Actor = events.Token, c.ID, c.Subject
		statement.Until = i.retention.UntilExpiry(time.Unix(c.Expires, 0))
	}
	if _, err := i.Revoke(r.Context(), statement); err != nil {
		return err
	}
	return done()
}

func (i *Issuer) revokedAnswer(w http.ResponseWriter, ack events.Ack, txn string) {
	i.respond(w, http.StatusOK, struct {
		ID       string `json:"id"`
		Sequence uint64 `json:"sequence"`
		Txn      string `json:"txn,omitempty"`
	}{ack.ID, ack.Sequence, txn})
}
