package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
)

// active is what /introspect says of a living token (RFC 7662 §2.2).
type active struct {
	Active   bool     `json:"active"`
	Scope    string   `json:"scope,omitempty"`
	Client   string   `json:"client_id"`
	Type     string   `json:"token_type,omitempty"` // of access tokens
	Expires  int64    `json:"exp"`
	Issued   int64    `json:"iat"`
	From     int64    `json:"nbf,omitempty"`
	Subject  string   `json:"sub"`
	Audience audience `json:"aud,omitempty"`
	Issuer   string   `json:"iss"`
	ID       string   `json:"jti,omitempty"`
	Session  string   `json:"sid,omitempty"`
	Auth     int64    `json:"auth_time,omitempty"`
}

var inactive = []byte(`{"active":false}` + "\n")

// maySee: a client may ask about its own tokens and about those for the audiences that it stands for.
func (c Client) maySee(t accessClaims) bool {
	return c.ID == t.Client || slices.ContainsFunc(t.Audience, func(a string) bool { return slices.Contains(c.Introspects, a) })
}

// serveIntrospect is RFC 7662. Whatever is not a living token that the caller may see is answered alike. Access tokens cost no
// look at the records: the denylist knows.
func (i *Issuer) serveIntrospect(w http.ResponseWriter, r *http.Request) error {
	form, client, err := i.clientForm(r)
	if err != nil {
		return err
	}
	if client == nil || client.Public {
		return errInvalidClient
	}
	raw := form["token"]
	if raw == "" {
		return badRequest("token is required")
	}
	text, err := i.introspect(r.Context(), raw, *client)
	if errors.Is(err, ErrToken) || errors.Is(err, ErrGrant) {
		text, err = inactive, nil
	}
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(text) // the client may be gone
	return nil
}

func (i *Issuer) introspect(ctx context.Context, raw string, caller Client) ([]byte, error) {
	if sid, secret, ok := parseRefreshToken(raw); ok {
		a, err := i.introspectRefresh(ctx, sid, secret, caller)
		if err != nil {
			return nil, err
		}
		return encodeActive(a)
	}
	c, err := i.verify(raw)
	if err != nil {
		return nil, err
	}
	if !caller.maySee(c) {
		return nil, ErrToken
	}
	return encodeActive(active{
		Active: true, Scope: c.Scope, Client: c.Client, Type: "Bearer", Expires: c.Expires, Issued: c.Issued, From: c.Issued,
		Subject: c.Subject, Audience: c.Audience, Issuer: c.Issuer, ID: c.ID, Session: c.Session, Auth: c.Auth,
	})
}

func encodeActive(a active) ([]byte, error) {
	text, err := json.Marshal(a)
	return append(text, '\n'), err
}

// introspectRefresh looks at a refresh token as a refresh would, and changes nothing: one that was used is inactive, but asking
// about it is no theft.
func (i *Issuer) introspectRefresh(ctx context.Context, sid string, secret []byte, caller Client) (active, error) {
	if err := i.current(); err != nil {
		return active{}, err
	}
	s, err := i.session(ctx, sid)
	if err != nil {
		return active{}, err
	}
	if s == nil || s.Client != caller.ID || s.State != live || s.expired(i.cfg.Now()) || !s.madeHere(secret) || !same(s.Current, secret) ||
		!caller.may(GrantRefresh) {
		return active{}, ErrGrant
	}
	scope, err := i.stillGranted(ctx, s, s.Scope)
	if err != nil {
		return active{}, err
	}
	return active{
		Active: true, Scope: strings.Join(scope, " "), Client: s.Client, Expires: min(s.Idle, s.End), Issued: max(s.Auth, s.Rotated/1000),
		Subject: s.Sub, Issuer: i.cfg.Issuer, Session: s.sid, Auth: s.Auth,
	}, nil
}
