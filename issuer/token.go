package issuer

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// accessClaims are the claims of our access tokens (RFC 9068 §2.2, plus sid and gen).
type accessClaims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience audience `json:"aud"`
	Client   string   `json:"client_id"`
	Expires  int64    `json:"exp"`
	Issued   int64    `json:"iat"`
	ID       string   `json:"jti"`
	Session  string   `json:"sid,omitempty"` // this and the next two: not in a client's own tokens
	Gen      uint64   `json:"gen,omitempty"`
	Auth     int64    `json:"auth_time,omitempty"`
	Scope    string   `json:"scope,omitempty"`
}

// audience is written as a string if it has one member, as RFC 7519 §4.1.3 allows.
type audience []string

func (a audience) MarshalJSON() ([]byte, error) {
	if len(a) == 1 {
		return json.Marshal(a[0])
	}
	return json.Marshal([]string(a))
}

func (a *audience) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(a))
}

const typAccess = "at+jwt" // RFC 9068 §2.1

func numeric(s int64) (*jwt.NumericDate, error) {
	if s == 0 {
		return nil, nil
	}
	return jwt.NewNumericDate(time.Unix(s, 0)), nil
}

// The methods of jwt.Claims.
func (c accessClaims) GetExpirationTime() (*jwt.NumericDate, error) { return numeric(c.Expires) }
func (c accessClaims) GetIssuedAt() (*jwt.NumericDate, error)       { return numeric(c.Issued) }
func (c accessClaims) GetNotBefore() (*jwt.NumericDate, error)      { return nil, nil }
func (c accessClaims) GetIssuer() (string, error)                   { return c.Issuer, nil }
func (c accessClaims) GetSubject() (string, error)                  { return c.Subject, nil }
func (c accessClaims) GetAudience() (jwt.ClaimStrings, error) {
	return jwt.ClaimStrings(c.Audience), nil
}

// sign makes the compact token; typ says what it is, so that none is taken for another (RFC 8725 §3.11).
func (k signingKey) sign(typ string, claims any) (string, error) {
	m, err := method(k.alg)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode the claims: %w", err)
	}
	// The header is always the same; a kid is base64url and needs no escaping.
	header := `{"alg":"` + k.alg + `","kid":"` + k.kid + `","typ":"` + typ + `"}`
	input := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	signature, err := m.Sign(input, k.private)
	if err != nil {
		return "", fmt.Errorf("sign the token: %w", err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// mintSession makes an access token of the session. issued was taken before the marks were read: see revoke.go.
func (i *Issuer) mintSession(s *session, scope []string, issued time.Time) (raw string, life time.Duration, err error) {
	expires := min(issued.Add(i.cfg.AccessLife).Unix(), s.End)
	return i.mint(s.Client, issued, expires, accessClaims{Subject: s.Sub, Session: s.sid, Gen: s.Gen, Auth: s.Auth}, scope)
}

// mint completes the claims and signs them. Every access token is made here.
func (i *Issuer) mint(clientID string, issued time.Time, expires int64, c accessClaims, scope []string) (raw string, life time.Duration, err error) {
	if !i.issuing(clientID, issued) {
		return "", 0, errInvalidClient
	}
	key, err := i.keys.signer()
	if err != nil {
		return "", 0, unavailable(err)
	}
	client, _ := i.client(clientID)
	c.Issuer, c.Audience, c.Client, c.ID, c.Scope = i.cfg.Issuer, i.audience(client), clientID, token(16), strings.Join(scope, " ")
	c.Issued, c.Expires = issued.Unix(), expires
	raw, err = key.sign(typAccess, c)
	return raw, time.Duration(c.Expires-c.Issued) * time.Second, err
}
