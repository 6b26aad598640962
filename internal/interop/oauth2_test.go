package interop

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"golang.org/x/oauth2"
)

// styles are the ways in which x/oauth2 authenticates a client.
var styles = map[string]oauth2.AuthStyle{
	"found out": oauth2.AuthStyleAutoDetect, "in parameters": oauth2.AuthStyleInParams, "in the header": oauth2.AuthStyleInHeader,
}

// expired makes a TokenSource refresh at once.
func expired(refresh string) *oauth2.Token {
	return &oauth2.Token{AccessToken: "old", RefreshToken: refresh, Expiry: time.Now().Add(-time.Hour)}
}

// public is quash's default client as x/oauth2 sees it. Its endpoint says nothing
// of how to authenticate, so the package finds out.
func public(w *world) *oauth2.Config {
	return &oauth2.Config{ClientID: "quash", Endpoint: oauth2.Endpoint{TokenURL: w.issuer + "/token"}}
}

func TestXOAuth2Refresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ES256")
	for name, style := range styles {
		t.Run(name, func(t *testing.T) {
			cfg := public(w)
			cfg.Endpoint.AuthStyle = style
			first := w.login()
			next, err := cfg.TokenSource(t.Context(), expired(first.Refresh)).Token()
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case next.AccessToken == "" || next.AccessToken == first.Access:
				t.Error("no new access token")
			case next.RefreshToken == "" || next.RefreshToken == first.Refresh:
				t.Error("no new refresh token")
			case !next.Valid() || next.Type() != "Bearer":
				t.Errorf("got a token of type %q that expires at %v", next.Type(), next.Expiry)
			case next.Extra("session_expires_in") == nil || next.Extra("idle_expires_in") == nil:
				t.Error("the answer does not say when the session ends")
			}
			// The source that keeps the tokens goes on from the second one.
			again, err := cfg.TokenSource(t.Context(), expired(next.RefreshToken)).Token()
			if err != nil {
				t.Fatal(err)
			}
			if again.RefreshToken == next.RefreshToken {
				t.Error("the refresh token was not rotated")
			}
		})
	}
}

// refusal is what a user of x/oauth2 looks at.
func refusal(t testing.TB, what string, err error, status int, code string) {
	t.Helper()
	var r *oauth2.RetrieveError
	if !errors.As(err, &r) {
		t.Errorf("%s: got %v, want a *oauth2.RetrieveError", what, err)
		return
	}
	if _, _, header := r.Response.Request.BasicAuth(); code == "invalid_client" && !header {
		status = http.StatusBadRequest // RFC 6749 §5.2: 401 answers clients that used the header
	}
	if r.ErrorCode != code || r.Response.StatusCode != status {
		t.Errorf("%s: got %d %q, want %d %q", what, r.Response.StatusCode, r.ErrorCode, status, code)
	}
	if r.ErrorDescription == "" {
		t.Errorf("%s: no error_description", what)
	}
}

func TestXOAuth2Errors(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ES256")
	refresh := func(cfg *oauth2.Config, token string) error {
		_, err := cfg.TokenSource(t.Context(), expired(token)).Token()
		return err
	}
	cfg := public(w)
	refusal(t, "no such refresh token", refresh(cfg, "nonsense"), http.StatusBadRequest, "invalid_grant")

	first := w.login()
	if err := refresh(cfg, first.Refresh); err != nil {
		t.Fatal(err)
	}
	refusal(t, "a used one", refresh(cfg, first.Refresh), http.StatusBadRequest, "invalid_grant")

	out := w.login()
	if code, body := postBearer(t, w.issuer+"/logout", out.Access); code != http.StatusOK {
		t.Fatalf("logout: %d %s", code, body)
	}
	refusal(t, "after a logout", refresh(cfg, out.Refresh), http.StatusBadRequest, "invalid_grant")

	unknown := *cfg
	unknown.ClientID = "nobody"
	refusal(t, "an unknown client", refresh(&unknown, w.login().Refresh), http.StatusUnauthorized, "invalid_client")

	_, err := cfg.PasswordCredentialsToken(context.Background(), user, password)
	refusal(t, "the password grant", err, http.StatusBadRequest, "unsupported_grant_type")
}
