package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"os"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/rogpeppe/go-internal/testscript"
)

const foreignIssuer = "https://idp.example"

// foreignKey is an identity provider that is not ours: a key and its JWK Set.
type foreignKey struct {
	key *ecdsa.PrivateKey
}

func newForeignKey() (*foreignKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return &foreignKey{key}, err
}

func (f *foreignKey) jwks() ([]byte, error) {
	return json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: f.key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"},
	}})
}

// mint signs an access token of RFC 9068 for the session, or without one.
func (f *foreignKey) mint(session string) (string, error) {
	now := time.Now()
	claims := jwt.MapClaims{
		"iss": foreignIssuer, "sub": "user-1", "aud": "api", "client_id": "web", "jti": "jti-" + session, "sid": session,
		"iat": now.Unix(), "exp": now.Add(30 * time.Minute).Unix(),
	}
	if session == "" {
		delete(claims, "sid")
	}
	t := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	t.Header["typ"], t.Header["kid"] = "at+jwt", "k1"
	return t.SignedString(f.key)
}

// cmdForeign: foreign JWKSFILE TOKENFILE SESSION [TOKENFILE SESSION]… makes an
// identity provider and tokens of it.
func cmdForeign(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 3 || len(args)%2 == 0 {
		ts.Fatalf("usage: foreign JWKSFILE TOKENFILE SESSION…")
	}
	f, err := newForeignKey()
	ts.Check(err)
	set, err := f.jwks()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), set, 0o600))
	for i := 1; i < len(args); i += 2 {
		token, err := f.mint(args[i+1])
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(args[i]), []byte(token), 0o600))
	}
}
