package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/quash-auth/quash/events"
)

const (
	audience  = "api"
	tokenLife = 3 * time.Hour
	// Tokens are old when they are first shown, so that a clock that is an hour
	// off neither expires them nor makes them come from the future.
	tokenAge     = 90 * time.Minute
	maxTokenLife = 4 * time.Hour
)

// kind is what a token is from its beginning.
type kind uint8

const (
	living kind = iota
	expired
	forged
)

// token is one token and what was said about it. asked and acked are set once, in
// this order, while probes show it.
type token struct {
	raw   string
	kind  kind
	young bool // issued just now: a clock behind takes it for one from the future
	about events.Revocation
	asked atomic.Int64 // Unix nanoseconds at which its revocation was first attempted; 0: never
	acked atomic.Int64 // the same for its acknowledgement
}

// minter signs tokens as somebody's identity provider does.
type minter struct {
	public  ed25519.PublicKey
	private ed25519.PrivateKey
	serial  atomic.Int64
	keys    atomic.Int64 // names of keys used up
	aged    atomic.Int64 // tokens of the aging issuer
	began   time.Time
}

func newMinter() (*minter, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	return &minter{public: public, private: private, began: time.Now()}, nil
}

// mint makes a token that one statement of the given scope covers, and no other.
func (m *minter) mint(k kind, scope events.Scope) *token {
	n := m.serial.Add(1)
	name := func(what string) string { return fmt.Sprintf("%s-%d", what, n) }
	iat := time.Now().Add(-tokenAge)
	if k == expired {
		iat = iat.Add(-tokenLife)
	}
	t := &token{kind: k, about: events.Revocation{Issuer: foreignIssuer, Scope: scope}}
	key := keyID
	switch scope {
	case events.Token:
		t.about.Key = name("jti")
	case events.Session:
		t.about.Key = name("sid")
	case events.Subject:
		t.about.Key = name("sub")
	case events.Key:
		key = keyName(m.keys.Add(1) - 1)
		t.about.Key = key
	case events.Issuer: // each a little younger than the one before, which its cutoff covers too
		iat = m.began.Add(-tokenAge + time.Duration(m.aged.Add(1))*3*time.Second)
		t.about.Issuer, t.about.Before = agingIssuer, iat.Add(time.Second)
	default:
		t.about.Scope, t.about.Key = events.Client, name("client")
	}
	claims := map[string]any{
		"iss": t.about.Issuer, "aud": audience, "iat": iat.Unix(), "exp": iat.Add(tokenLife).Unix(),
		"jti": name("jti"), "sid": name("sid"), "sub": name("sub"), "client_id": name("client"),
	}
	t.raw = m.sign(map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": key}, claims)
	if k == forged {
		t.raw = m.forge(t.raw, n)
	}
	return t
}

func (m *minter) sign(header, claims map[string]any) string {
	text := part(header) + "." + part(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(m.private, []byte(text)))
}

func part(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of strings and numbers always marshal
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// forge spoils a good token in one of several ways.
func (m *minter) forge(good string, n int64) string {
	header, rest, _ := strings.Cut(good, ".")
	claims, signature, _ := strings.Cut(rest, ".")
	switch n % 4 {
	case 0: // no signature
		return part(map[string]any{"alg": "none", "typ": "at+jwt"}) + "." + claims + "."
	case 1: // somebody else's signature
		other := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
		return header + "." + claims + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(other, []byte(header+"."+claims)))
	case 2: // other claims under a good signature
		return header + "." + part(map[string]any{"iss": foreignIssuer, "aud": audience, "sub": "root"}) + "." + signature
	default: // the wrong end of a good signature
		return good[:len(good)-8] + "AAAAAAAA"
	}
}
