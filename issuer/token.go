package issuer

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/quash-auth/quash/internal/strictjson"
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
	Session  string   `json:"sid,omitempty"` // this and the next two: not in all tokens
	Gen      uint64   `json:"gen,omitempty"`
	Auth     int64    `json:"auth_time,omitempty"`
	Scope    string   `json:"scope,omitempty"`
	Once     bool     `json:"once,omitempty"` // good for one request
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

const (
	typAccess = "at+jwt" // RFC 9068 §2.1
	// typOnce is another, so that verifiers that know nothing of one-time tokens refuse them (RFC 8725 §3.11).
	typOnce = "once+jwt"
)

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

// append writes the claims as JSON, as encoding/json would: access tokens are made by the thousand.
func (c *accessClaims) append(b []byte) []byte {
	text := func(name, value string) {
		b = strictjson.AppendString(append(append(b, name...), ':'), value)
	}
	number := func(name string, value int64) {
		b = strconv.AppendInt(append(append(b, name...), ':'), value, 10)
	}
	text(`{"iss"`, c.Issuer)
	text(`,"sub"`, c.Subject)
	if len(c.Audience) == 1 {
		text(`,"aud"`, c.Audience[0])
	} else {
		b = append(b, `,"aud":[`...)
		for n, a := range c.Audience {
			if n > 0 {
				b = append(b, ',')
			}
			b = strictjson.AppendString(b, a)
		}
		b = append(b, ']')
	}
	text(`,"client_id"`, c.Client)
	number(`,"exp"`, c.Expires)
	number(`,"iat"`, c.Issued)
	text(`,"jti"`, c.ID)
	if c.Session != "" {
		text(`,"sid"`, c.Session)
	}
	if c.Gen != 0 {
		b = strconv.AppendUint(append(b, `,"gen":`...), c.Gen, 10)
	}
	if c.Auth != 0 {
		number(`,"auth_time"`, c.Auth)
	}
	if c.Scope != "" {
		text(`,"scope"`, c.Scope)
	}
	if c.Once {
		b = append(b, `,"once":true`...)
	}
	return append(b, '}')
}

// sign makes the compact token; typ says what it is, so that none is taken for another (RFC 8725 §3.11).
func (k signingKey) sign(typ string, payload []byte) (string, error) {
	const room = 128 // of a header and of an ECDSA signature
	header := append(make([]byte, 0, room), `{"alg":"`...)
	header = append(append(header, k.alg...), `","kid":"`...) // a kid is base64url and needs no escaping
	header = append(append(append(append(header, k.kid...), `","typ":"`...), typ...), `"}`...)
	out := make([]byte, 0, base64.RawURLEncoding.EncodedLen(len(header)+len(payload))+room)
	out = append(base64.RawURLEncoding.AppendEncode(out, header), '.')
	out = base64.RawURLEncoding.AppendEncode(out, payload)
	signature, err := k.signature(out)
	if err != nil {
		return "", fmt.Errorf("sign the token: %w", err)
	}
	return string(base64.RawURLEncoding.AppendEncode(append(out, '.'), signature)), nil
}

// signature of a JWS. ECDSA's is turned into the form of RFC 7518 §3.4 here, which the JWT library does by way of big integers.
func (k signingKey) signature(input []byte) ([]byte, error) {
	private, ok := k.private.(*ecdsa.PrivateKey)
	if !ok || k.alg != "ES256" {
		m, err := method(k.alg)
		if err != nil {
			return nil, err
		}
		return m.Sign(string(input), k.private)
	}
	sum := sha256.Sum256(input)
	der, err := ecdsa.SignASN1(rand.Reader, private, sum[:])
	if err != nil {
		return nil, err
	}
	var sequence cryptobyte.String
	var r, s []byte
	text := cryptobyte.String(der)
	if !text.ReadASN1(&sequence, asn1.SEQUENCE) || !sequence.ReadASN1Integer(&r) || !sequence.ReadASN1Integer(&s) || len(r) > 32 || len(s) > 32 {
		return nil, errors.New("the signature has an unknown form")
	}
	out := make([]byte, 64)
	copy(out[32-len(r):], r)
	copy(out[64-len(s):], s)
	return out, nil
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
	raw, err = key.sign(typAccess, c.append(make([]byte, 0, 512)))
	return raw, time.Duration(c.Expires-c.Issued) * time.Second, err
}
