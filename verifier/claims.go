package verifier

import (
	"fmt"
	"strings"
	"time"

	"github.com/quash-auth/quash/internal/strictjson"
)

// claimsError names the claim. The text goes to logs of the host, never to the bearer.
func claimsError(claim, problem string) error {
	return fmt.Errorf("%w: %s %s", ErrClaims, claim, problem)
}

var errForeignClaim = fmt.Errorf("%w: it has claims that only ID, logout and event tokens have", ErrType)

// maxName bounds what a statement can name: a longer iss, jti, sid, sub or client_id could never be revoked and is refused.
const maxName = 512

// claimSet is the claims as written, types checked.
type claimSet struct {
	iss, sub, jti, sid, clientID, azp string

	aud, scope, scp     []string
	exp, nbf, iat, auth int64
	gen                 uint64

	once bool // good for one request

	has claimBits
	// What only the relaxed profile accepts, or reads at all: scope as an array, and scp.
	scopeIsList, scpIsWrong bool
}

type claimBits uint16

const (
	hasIss claimBits = 1 << iota
	hasSub
	hasJTI
	hasSID
	hasClientID
	hasAzp
	hasAud
	hasExp
	hasNbf
	hasIat
	hasAuth
	hasGen
	hasScope
)

// parseClaims reads the claims this package judges by. Names are matched exactly: what an encoding/json reader would
// take for jti ("JTI", or a second jti) is another claim here, or an error. A claim of the wrong type is an error, never
// an absent claim: a token must not shed its jti by making it a number.
func parseClaims(doc []byte) (c claimSet, err error) {
	var buf [24]strictjson.Member
	members, err := strictjson.Members(doc, buf[:0])
	if err != nil {
		return c, fmt.Errorf("%w: %w", errJSON, err)
	}
	for _, m := range members {
		if err := c.member(m); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (c *claimSet) member(m strictjson.Member) (err error) {
	switch string(m.Name) {
	case "iss":
		c.iss, err = c.text(m, hasIss)
	case "sub":
		c.sub, err = c.text(m, hasSub)
	case "jti":
		c.jti, err = c.text(m, hasJTI)
	case "sid":
		c.sid, err = c.text(m, hasSID)
	case "client_id":
		c.clientID, err = c.text(m, hasClientID)
	case "azp":
		c.azp, err = c.text(m, hasAzp)
	case "exp":
		c.exp, err = c.date(m, hasExp)
	case "nbf":
		c.nbf, err = c.date(m, hasNbf)
	case "iat":
		c.iat, err = c.date(m, hasIat)
	case "auth_time":
		c.auth, err = c.date(m, hasAuth)
	case "aud":
		c.has |= hasAud
		if c.aud, err = strictjson.Strings(m.Value); err != nil {
			return claimsError("aud", "is neither a string nor an array of strings")
		}
	case "gen":
		c.has |= hasGen
		if c.gen, err = strictjson.Uint64(m.Value); err != nil {
			return claimsError("gen", "is not a whole number of zero or more")
		}
	case "scope":
		c.has |= hasScope
		if c.scope, c.scopeIsList, err = scopeValues(m.Value); err != nil {
			return claimsError("scope", "is not a string of scope values")
		}
	case "scp":
		var wrong error
		c.scp, _, wrong = scopeValues(m.Value)
		c.scpIsWrong = wrong != nil
	case "nonce", "events", "at_hash", "c_hash":
		return errForeignClaim
	case "once":
		if c.once, err = strictjson.Bool(m.Value); err != nil {
			return claimsError("once", "is neither true nor false") // it must not pass for an ordinary token
		}
	case "token_use", "typ": // Amazon Cognito and Keycloak write the kind of token into the claims
		return c.kind(m)
	case "cnf":
		// RFC 9449 section 7.2, RFC 8705 section 3: as a bearer token it must be refused.
		return claimsError("cnf", "binds the token to a key that a bearer does not prove")
	}
	return err
}

// text reads a claim that a statement can name: a string, not empty, not longer than a statement's key may be.
func (c *claimSet) text(m strictjson.Member, bit claimBits) (string, error) {
	c.has |= bit
	s, err := strictjson.String(m.Value)
	switch {
	case err != nil:
		return "", claimsError(string(m.Name), "is not a string")
	case s == "":
		return "", claimsError(string(m.Name), "is empty")
	case len(s) > maxName:
		return "", claimsError(string(m.Name), fmt.Sprintf("is longer than %d bytes", maxName))
	}
	return s, nil
}

func (c *claimSet) date(m strictjson.Member, bit claimBits) (int64, error) {
	c.has |= bit
	n, err := strictjson.NumericDate(m.Value)
	if err != nil {
		return 0, claimsError(string(m.Name), "is not a number of seconds")
	}
	return n, nil
}

func (c *claimSet) kind(m strictjson.Member) error {
	s, err := strictjson.String(m.Value)
	if err != nil {
		return nil // somebody else's claim of that name
	}
	switch strings.ToLower(s) {
	case "id", "refresh", "offline", "logout":
		return errForeignClaim
	}
	return nil
}

// scopeValues reads scope (RFC 9068 section 2.2.3), or what other issuers write in its place: a list.
func scopeValues(raw []byte) (values []string, isList bool, err error) {
	if s, err := strictjson.String(raw); err == nil {
		return strings.Fields(s), false, nil
	}
	values, err = strictjson.Strings(raw)
	return values, true, err
}

// required names the first claim the issuer's configuration demands and the token lacks, or "". exp, iss and aud are always
// needed.
func (c *claimSet) required(p Profile, allowUndated bool) string {
	for _, need := range [...]struct {
		bit    claimBits
		name   string
		always bool
	}{
		{hasIss, "iss", true}, {hasExp, "exp", true}, {hasAud, "aud", true},
		{hasSub, "sub", false}, {hasClientID, "client_id", false}, {hasIat, "iat", false}, {hasJTI, "jti", false},
	} {
		if c.has&need.bit == 0 && (need.always || p == Strict || need.bit == hasIat && !allowUndated) {
			return need.name
		}
	}
	return ""
}

// token makes the Token. iss is the configured name, so that it is not held once per token.
func (c *claimSet) token(iss, typ, kid string, payload []byte) *Token {
	t := &Token{
		Issuer: iss, Subject: c.sub, ID: c.jti, Session: c.sid, Client: c.clientID, KeyID: kid, Type: typ,
		Audience: c.aud, Scope: c.scope,
		Once:    c.once,
		Expires: time.Unix(c.exp, 0), Gen: c.gen, HasGen: c.has&hasGen != 0,
		payload: payload,
	}
	if c.has&hasClientID == 0 {
		t.Client = c.azp
	}
	if c.has&hasIat != 0 {
		t.IssuedAt = time.Unix(c.iat, 0)
	}
	if c.has&hasNbf != 0 {
		t.NotBefore = time.Unix(c.nbf, 0)
	}
	if c.has&hasAuth != 0 {
		t.AuthTime = time.Unix(c.auth, 0)
	}
	return t
}
