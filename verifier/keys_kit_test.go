package verifier_test

import (
	"crypto/ecdsa"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/quash-auth/quash/verifier"
)

// jwkOf is a signer's public key as a JWK, with changes.
func jwkOf(s signer, changes object) object {
	pub := s.public().(*ecdsa.PublicKey)
	raw, err := pub.Bytes()
	if err != nil {
		panic(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	return with(object{"kty": "EC", "crv": "P-256", "x": enc(raw[1:33]), "y": enc(raw[33:]), "kid": s.kid, "use": "sig", "alg": "ES256"}, changes)
}

func setOf(keys ...object) string {
	if keys == nil {
		keys = []object{}
	}
	return text(object{"keys": keys})
}

// keyServer serves a JWK Set and counts who asks.
type keyServer struct {
	*httptest.Server
	asked  atomic.Int64
	answer atomic.Pointer[http.HandlerFunc]
}

func newKeyServer(t testing.TB, doc string) *keyServer {
	s := &keyServer{}
	s.serve(doc)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		(*s.answer.Load())(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *keyServer) handle(h http.HandlerFunc) { s.answer.Store(&h) }
func (s *keyServer) serve(doc string) {
	s.handle(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(doc)) })
}

// byURL makes issuer A read its keys from an address.
func byURL(address string) func(*verifier.Config, *memFeed) {
	return func(c *verifier.Config, _ *memFeed) {
		c.Issuers[0].Keys, c.Issuers[0].JWKSURL = nil, address
		c.HTTPClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	}
}
