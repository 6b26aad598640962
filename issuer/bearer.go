package issuer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

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

var errMalformed = errors.New("malformed")

// parse checks the signature and the claims; expired tokens pass if alive is false. One-time tokens are none of these: they are
// not for the issuer, and to look at one here would not use it up.
func (i *Issuer) parse(raw string, alive bool) (accessClaims, string, error) {
	c, kid, err := i.parseAny(raw, alive)
	if err == nil && c.Once {
		return accessClaims{}, "", fmt.Errorf("%w: a one-time token", ErrToken)
	}
	return c, kid, err
}

func (i *Issuer) parseAny(raw string, alive bool) (accessClaims, string, error) {
	t, err := i.signed(raw)
	if err == nil {
		err = i.check(t.claims, alive)
	}
	if err != nil {
		return accessClaims{}, "", fmt.Errorf("%w: %w", ErrToken, err)
	}
	return t.claims, t.kid, nil
}

// signed is a token whose signature was verified: all that a memo may spare. What its claims mean now is for check.
type signed struct {
	claims accessClaims
	kid    string
}

// memoCost is what the claims of a token weigh beside its text.
const memoCost = 700

// signed verifies the signature, or remembers that it did: then the key must still be one of ours. A kid is the key's
// thumbprint, so the same kid is the same key.
func (i *Issuer) signed(raw string) (*signed, error) {
	memo := i.memo.Load()
	if t, ok := memo.Get(raw); ok {
		if _, ok := i.keys.public(t.kid); ok {
			return t, nil
		}
	}
	t, err := i.verifySignature(raw)
	if err == nil {
		memo.Put(raw, t, memoCost)
	}
	return t, err
}

func (i *Issuer) verifySignature(raw string) (*signed, error) {
	if len(raw) > maxToken || strings.ContainsAny(raw, "\r\n=") {
		return nil, errMalformed
	}
	var t signed
	_, err := tokenParser.ParseWithClaims(raw, &t.claims, func(token *jwt.Token) (any, error) {
		want := typAccess
		if t.claims.Once {
			want = typOnce
		}
		if typ, _ := token.Header["typ"].(string); typ != want {
			return nil, errors.New("not an access token")
		}
		if _, there := token.Header["crit"]; there {
			return nil, errors.New("unknown critical header")
		}
		t.kid, _ = token.Header["kid"].(string)
		key, ok := i.keys.public(t.kid)
		if !ok || token.Method.Alg() != key.alg { // a key has one algorithm (RFC 8725 §3.1)
			return nil, errors.New("unknown key")
		}
		return key.private.Public(), nil
	})
	return &t, err
}

var tokenParser = jwt.NewParser(jwt.WithValidMethods([]string{"ES256", "RS256", "EdDSA"}), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation())

// check is everything about the claims that can change: the time, the clients, the configuration.
func (i *Issuer) check(c accessClaims, alive bool) error {
	if c.Issuer != i.cfg.Issuer || c.ID == "" || c.Subject == "" || (c.Session == "") != (c.Once || c.Subject == clientSubject+c.Client) || c.Client == "" || c.Expires == 0 {
		return errors.New("claims")
	}
	// Another replica's clock may be ahead, by as much as the stream allows for.
	if now := i.cfg.Now(); alive && (!now.Before(time.Unix(c.Expires, 0)) || i.retention.UntilExpiry(now).Before(time.Unix(c.Issued, 0))) {
		return errors.New("expired or not issued yet")
	}
	client, ok := i.client(c.Client)
	if !ok {
		return errors.New("unknown client")
	}
	if !c.Once && !slices.ContainsFunc(c.Audience, func(a string) bool { return slices.Contains(i.audience(client), a) }) {
		return errors.New("audience")
	}
	return nil
}

// revoked asks the issuer's own denylist.
func (i *Issuer) revoked(c accessClaims, kid string) bool {
	ref := i.deny.Ref(cache.Claims{
		Issuer: c.Issuer, ID: c.ID, Session: c.Session, Subject: c.Subject, Client: c.Client, KeyID: kid,
		IssuedAt: c.Issued, HasIssuedAt: true, Gen: c.Gen, HasGen: c.Gen > 0,
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
