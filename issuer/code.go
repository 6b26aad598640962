package issuer

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/quash-auth/quash/events"
)

const (
	codeLife   = time.Minute
	codeMemory = 10 * time.Minute // how long a second use is still noticed
)

// code is the stored record of an authorization code (RFC 6749 §4.1.2). The session begins when the code is exchanged; its sid is
// chosen before, so that whoever shows the code again knows what to end.
type code struct {
	Sub       string   `json:"sub"`
	Gen       uint64   `json:"gen"`
	Auth      int64    `json:"auth"` // when the password was shown, Unix seconds
	Client    string   `json:"client"`
	Redirect  string   `json:"redirect"`
	Challenge string   `json:"challenge"`
	Nonce     string   `json:"nonce,omitempty"`
	Scope     []string `json:"scope,omitempty"`
	Agent     string   `json:"agent,omitempty"` // the browser's
	Until     int64    `json:"until"`           // Unix ms
	Used      bool     `json:"used"`
	Sid       string   `json:"sid,omitempty"` // of the session that comes of it; empty: it was burnt, and none did

	key      string
	revision uint64
}

func codeKey(raw string) string {
	h := sha256.Sum256([]byte(raw))
	return "a." + strict64.EncodeToString(h[:])
}

// newCode also returns what the client gets: 256 random bits, of which only the hash is stored.
func newCode(now time.Time) (*code, string) {
	raw := token(32)
	return &code{Auth: now.Unix(), Until: now.Add(codeLife).UnixMilli(), Sid: token(16), key: codeKey(raw)}, raw
}

func decodeCode(r record) (*code, error) {
	c := &code{key: r.key, revision: r.revision}
	opt := true
	err := r.decode(kindCode, field{"sub", &c.Sub, !opt}, field{"gen", &c.Gen, !opt}, field{"auth", &c.Auth, !opt},
		field{"client", &c.Client, !opt}, field{"redirect", &c.Redirect, !opt}, field{"challenge", &c.Challenge, !opt},
		field{"nonce", &c.Nonce, opt}, field{"scope", &c.Scope, opt}, field{"agent", &c.Agent, opt},
		field{"until", &c.Until, !opt}, field{"used", &c.Used, !opt}, field{"sid", &c.Sid, opt})
	switch {
	case err != nil:
		return nil, err
	case !challengeForm(c.Challenge):
		err = errors.New("challenge: is none")
	case c.Sub == "" || c.Client == "" || c.Redirect == "":
		err = errors.New("sub, client or redirect: is empty")
	case c.Gen == 0:
		err = errors.New("gen: is 0")
	case !sidForm(c.Sid) && !(c.Used && c.Sid == ""):
		err = errors.New("sid: is none")
	}
	if err != nil {
		return nil, badRecord(r.key, err)
	}
	return c, nil
}

func (c *code) write() (write, error) {
	value, err := encodeRecord(kindCode, c.key, c)
	return write{key: c.key, value: value, revision: c.revision, life: codeMemory}, err
}

func (i *Issuer) writeCode(ctx context.Context, c *code) error {
	w, err := c.write()
	if err != nil {
		return err
	}
	c.revision, err = i.store.put(ctx, w)
	return err
}

// serveExchange is POST /token with a code (RFC 6749 §4.1.3, RFC 7636 §4.5).
func (i *Issuer) serveExchange(w http.ResponseWriter, r *http.Request, client *Client, form map[string]string) error {
	for _, name := range []string{"code", "redirect_uri", "code_verifier"} {
		if form[name] == "" {
			return badRequest(name + " is required")
		}
	}
	switch {
	case client == nil:
		return badRequest("client_id is required")
	case !client.may(GrantAuthorizationCode):
		return &fault{status: http.StatusBadRequest, code: "unauthorized_client", description: "the client may not use this grant"}
	}
	asked, err := boolean(form, "cookies")
	if err != nil {
		return err
	}
	var p presented
	if asked {
		if p, err = i.byCookie(r, true); err != nil {
			return err
		}
	}
	g, err := i.exchange(r.Context(), client, form["code"], form["redirect_uri"], form["code_verifier"])
	if err != nil {
		return err
	}
	i.log.Info("login", "sub", g.session.Sub, "client", client.ID, "sid", g.session.sid)
	if g.cookies = asked; asked {
		sids, err := i.possessed(r.Context(), p)
		if err == nil {
			err = i.replace(r.Context(), sids, g.session.Sub)
		}
		if err != nil {
			return err
		}
	}
	return i.tokens(w, g)
}

// exchange makes a session of a code, once. Of two exchanges at once one wins, and the other one ends the winner's session: one
// of the two holds a code that is not his, and which of them cannot be known (RFC 6749 §4.1.2, RFC 9700 §4.5).
func (i *Issuer) exchange(ctx context.Context, client *Client, raw, redirect, verifier string) (*grant, error) {
	if err := i.current(); err != nil {
		return nil, err
	}
	for range maxRounds {
		issued := i.cfg.Now() // before the marks are read, see raise
		r, err := i.store.get(ctx, codeKey(raw))
		if err != nil {
			return nil, err
		}
		if !r.exists() {
			return nil, errCode
		}
		c, err := decodeCode(r)
		if err != nil {
			return nil, err
		}
		if c.Used {
			return nil, i.codeReused(ctx, c)
		}
		if issued.UnixMilli() >= c.Until {
			return nil, errCode
		}
		c.Used = true
		if c.Client != client.ID || c.Redirect != redirect || !challengeOf(verifier, c.Challenge) {
			c.Sid = "" // burnt: somebody has it who should not
			if err := i.writeCode(ctx, c); errors.Is(err, ErrConflict) {
				continue
			} else if err != nil {
				return nil, err
			}
			i.log.Warn("authorization code refused and spent", "sub", c.Sub, "client", c.Client, "by", client.ID)
			return nil, errCode
		}
		g, err := i.begin(ctx, c, issued)
		if errors.Is(err, ErrConflict) {
			continue // another exchange was faster
		}
		if errors.Is(err, ErrGrant) {
			return nil, errCode
		}
		return g, err
	}
	return nil, errContended
}

// begin stores the session and that the code is used, both or none. What was revoked between the login and now ends it, before or
// after: the session is as old as the login.
func (i *Issuer) begin(ctx context.Context, c *code, issued time.Time) (*grant, error) {
	s, _ := newSession(time.Unix(c.Auth, 0), i.cfg.RefreshIdle, i.cfg.RefreshAbsolute)
	s.sid, s.Sub, s.Client, s.Gen, s.Scope, s.Agent, s.nonce = c.Sid, c.Sub, c.Client, c.Gen, c.Scope, c.Agent, c.Nonce
	secret := s.firstSecret()
	scope, err := i.stillGranted(ctx, s, c.Scope)
	if err != nil {
		return nil, err
	}
	w, err := c.write()
	if err != nil {
		return nil, err
	}
	if err := i.createSession(ctx, s, w); err != nil {
		return nil, err
	}
	if err := i.step("session"); err != nil {
		return nil, err
	}
	m, err := i.marks(ctx, s.Sub, s.Client)
	if err != nil {
		return nil, err
	}
	if m.over(s) {
		return nil, errors.Join(ErrGrant, i.dropSession(ctx, s))
	}
	return i.grant(s, secret, scope, issued)
}

var errCode = &fault{status: http.StatusBadRequest, code: "invalid_grant", description: "the authorization code is not valid"}

// codeReused ends the session that came of the code.
func (i *Issuer) codeReused(ctx context.Context, c *code) error {
	if c.Sid == "" {
		return errCode
	}
	_, err := i.Revoke(ctx, events.Revocation{Scope: events.Session, Key: c.Sid, By: "system", Reason: "authorization code used twice"})
	if err != nil {
		return err
	}
	return errCode
}

// challengeForm: S256 is a SHA-256 in base64url (RFC 7636 §4.2).
func challengeForm(s string) bool {
	b, err := strict64.DecodeString(s)
	return err == nil && len(b) == sha256.Size && !strings.ContainsAny(s, "\r\n")
}

// challengeOf reports whether the verifier is well-formed (RFC 7636 §4.1) and makes the challenge.
func challengeOf(verifier, challenge string) bool {
	const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
	if len(verifier) < 43 || len(verifier) > 128 || strings.Trim(verifier, unreserved) != "" {
		return false
	}
	h := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(h[:])), []byte(challenge)) == 1
}
