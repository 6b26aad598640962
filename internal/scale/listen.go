package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/quash-auth/quash/verifier"
)

// listen serves a handler behind the middleware of the first node and returns its
// address.
func (c *crowd) listen(struct{}) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	handler := c.nodes[0].v.Middleware(verifier.HTTPConfig{})(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
	}))
	s := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	c.wg.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "scale:", err) // requests fail, which is counted
		}
	})
	c.wg.Go(func() {
		<-c.ctx.Done()
		_ = s.Close()
	})
	return l.Addr().String(), nil
}

// mint signs a token of a session.
func mint(session string, now time.Time) string {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	part := func(v map[string]any) string {
		text, err := json.Marshal(v)
		if err != nil {
			panic(err) // maps of strings and numbers always marshal
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	text := part(map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": keyID}) + "." + part(map[string]any{
		"iss": issuerURL, "aud": audience, "iat": now.Add(-time.Minute).Unix(), "exp": now.Add(time.Hour).Unix(),
		"jti": "jti-" + session, "sid": session, "sub": "sub-" + session, "client_id": "web"})
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(text)))
}
