package issuer

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/quash-auth/quash/cache"
)

const maxToken = 16 << 10

// verify accepts our own living access tokens, for the issuer's own endpoints. It fails with ErrToken, or with ErrUnavailable
// while the issuer cannot know what was revoked.
func (i *Issuer) verify(raw string) (accessClaims, error) {
	c, kid, err := i.parse(raw, true)
	if err != nil {
		return accessClaims{}, err
	}
	if _, ok := i.usable(c.Client); !ok {
		return accessClaims{}, fmt.Errorf("%w: client", ErrToken)
	}
	if err := i.current(); err != nil {
		return accessClaims{}, err
	}
	if i.revoked(c, kid) {
		if err := i.current(); err != nil { // stopped meanwhile: a closed denylist covers everything
			return accessClaims{}, err
		}
		return accessClaims{}, fmt.Errorf("%w: revoked", ErrToken)
	}
	return c, nil
}

// parse checks the signature and the claims; expired tokens pass if alive is false.
func (i *Issuer) parse(raw string, alive bool) (accessClaims, string, error) {
	fail := func(why error) (accessClaims, string, error) {
		return accessClaims{}, "", fmt.Errorf("%w: %w", ErrToken, why)
	}
	if len(raw) > maxToken || strings.ContainsAny(raw, "\r\n=") {
		return fail(errors.New("malformed"))
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods([]string{"ES256", "RS256", "EdDSA"}), jwt.WithStrictDecoding(),
		jwt.WithIssuer(i.cfg.Issuer), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithTimeFunc(i.cfg.Now),
	}
	if !alive {
		options = append(options, jwt.WithoutClaimsValidation())
	}
	var c accessClaims
	var kid string
	_, err := jwt.NewParser(options...).ParseWithClaims(raw, &c, func(t *jwt.Token) (any, error) {
		if typ, _ := t.Header["typ"].(string); typ != typAccess {
			return nil, errors.New("not an access token")
		}
		if _, there := t.Header["crit"]; there {
			return nil, errors.New("unknown critical header")
		}
		kid, _ = t.Header["kid"].(string)
		key, ok := i.keys.public(kid)
		if !ok || t.Method.Alg() != key.alg { // a key has one algorithm (RFC 8725 §3.1)
			return nil, errors.New("unknown key")
		}
		return key.private.Public(), nil
	})
	if err != nil {
		return fail(err)
	}
	if c.Issuer != i.cfg.Issuer || c.ID == "" || c.Session == "" || c.Subject == "" || c.Client == "" || c.Expires == 0 {
		return fail(errors.New("claims"))
	}
	client, ok := i.client(c.Client)
	if !ok {
		return fail(errors.New("unknown client"))
	}
	if !slices.ContainsFunc(c.Audience, func(a string) bool { return slices.Contains(i.audience(client), a) }) {
		return fail(errors.New("audience"))
	}
	return c, kid, nil
}

// revoked asks the issuer's own denylist.
func (i *Issuer) revoked(c accessClaims, kid string) bool {
	ref := i.deny.Ref(cache.Claims{
		Issuer: c.Issuer, ID: c.ID, Session: c.Session, Subject: c.Subject, Client: c.Client, KeyID: kid,
		IssuedAt: c.Issued, HasIssuedAt: true, Gen: c.Gen, HasGen: true,
	})
	return i.deny.Check(&ref).Revoked
}

// current fails with ErrUnavailable unless the issuer's view of the stream is complete and fresh.
func (i *Issuer) current() error {
	if i.stopped.Load() {
		return fmt.Errorf("%w: stopped", ErrUnavailable)
	}
	f := i.feed.Freshness(i.cfg.Now())
	if !f.Synced {
		return fmt.Errorf("%w: catching up with the stream", ErrUnavailable)
	}
	if f.Staleness > i.cfg.MaxStaleness {
		return fmt.Errorf("%w: nothing heard from the stream for %v", ErrUnavailable, f.Staleness)
	}
	return nil
}

// admin accepts a bearer with the scope quash.admin.
func (i *Issuer) admin(raw string) (accessClaims, error) {
	c, err := i.verify(raw)
	if err != nil {
		return accessClaims{}, err
	}
	if !has(c, ScopeAdmin) {
		return accessClaims{}, &scopeError{ScopeAdmin}
	}
	return c, nil
}
