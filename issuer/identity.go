package issuer

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

const typIdentity = "JWT" // not at+jwt: an ID token opens no API

// identityClaims are the claims of our ID tokens (OpenID Connect Core §2, §3.1.3.6). They tell the client who logged in.
type identityClaims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"` // the client
	Expires  int64  `json:"exp"`
	Issued   int64  `json:"iat"`
	Auth     int64  `json:"auth_time"`
	Nonce    string `json:"nonce,omitempty"`
	Session  string `json:"sid"`
	Hash     string `json:"at_hash"`
}

// identify makes the ID token of an access token. After a refresh it has no nonce (OpenID Connect Core §12.2).
func (i *Issuer) identify(s *session, access string, life time.Duration, issued time.Time) (string, error) {
	key, err := i.keys.signer()
	if err != nil {
		return "", unavailable(err)
	}
	payload, err := json.Marshal(identityClaims{Issuer: i.cfg.Issuer, Subject: s.Sub, Audience: s.Client,
		Expires: issued.Add(life).Unix(), Issued: issued.Unix(), Auth: s.Auth, Nonce: s.nonce, Session: s.sid, Hash: accessHash(key.alg, access)})
	if err != nil {
		return "", fmt.Errorf("encode the claims: %w", err)
	}
	return key.sign(typIdentity, payload)
}

// accessHash is at_hash: the left half of the hash that belongs to the signature's algorithm; for Ed25519 that is SHA-512.
func accessHash(alg, access string) string {
	if alg == "EdDSA" {
		h := sha512.Sum512([]byte(access))
		return strict64.EncodeToString(h[:len(h)/2])
	}
	h := sha256.Sum256([]byte(access))
	return strict64.EncodeToString(h[:len(h)/2])
}

// serveUserInfo is OpenID Connect Core §5.3, with the little there is to tell.
func (i *Issuer) serveUserInfo(w http.ResponseWriter, r *http.Request) error {
	raw, err := bearer(r)
	if err != nil {
		return err
	}
	c, err := i.verify(raw)
	if err != nil {
		return err
	}
	scope := strings.Fields(c.Scope)
	if !slices.Contains(scope, scopeOpenID) {
		return &fault{status: http.StatusForbidden, code: "insufficient_scope", description: "the scope openid is needed",
			challenge: `Bearer realm="quash", error="insufficient_scope", scope="openid"`}
	}
	answer := struct {
		Subject string `json:"sub"`
		Name    string `json:"preferred_username,omitempty"`
	}{Subject: c.Subject}
	if slices.Contains(scope, scopeProfile) {
		u, err := i.users.Get(r.Context(), c.Subject)
		if errors.Is(err, ErrNoUser) {
			return ErrToken
		}
		if err != nil {
			return fmt.Errorf("read the user: %w", unavailable(err))
		}
		answer.Name = u.Name
	}
	i.respond(w, http.StatusOK, answer)
	return nil
}
