package interop

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/quash-auth/quash/verifier"
)

// relyingParty is x/oauth2 and go-oidc, set up from discovery alone.
type relyingParty struct {
	*oauth2.Config
	provider *oidc.Provider
}

func newRelyingParty(t testing.TB, w *world, r registered) relyingParty {
	t.Helper()
	provider, err := oidc.NewProvider(t.Context(), w.issuer)
	if err != nil {
		t.Fatal(err)
	}
	return relyingParty{provider: provider, Config: &oauth2.Config{ClientID: r.ID, ClientSecret: w.secrets[r.ID], RedirectURL: callback,
		Endpoint: provider.Endpoint(), Scopes: []string{oidc.ScopeOpenID, "profile"}}}
}

// code logs in and gives the code, and the verifier that goes with it.
func (p relyingParty) code(t testing.TB, w *world, nonce string) (code, secret string) {
	t.Helper()
	secret = oauth2.GenerateVerifier()
	back, err := url.Parse(logIn(t, p.AuthCodeURL("a state", oauth2.S256ChallengeOption(secret), oidc.Nonce(nonce))))
	if err != nil {
		t.Fatal(err)
	}
	q := back.Query()
	if q.Get("state") != "a state" || q.Get("iss") != w.issuer || q.Get("code") == "" {
		t.Fatalf("the client was called with %s", back.RawQuery)
	}
	return q.Get("code"), secret
}

func TestGoOIDCLogsIn(t *testing.T) {
	t.Parallel()
	for _, alg := range algorithms {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			registry, secrets := newRegistry(t)
			w := newWorld(t, alg, "--clients", registry)
			w.secrets = secrets
			api := newNodes(t, w.nats.URL(), w.issuer, w.jwks(), verifier.Strict)
			for _, r := range []registered{phone, shop, odd} {
				p := newRelyingParty(t, w, r)
				code, secret := p.code(t, w, "a nonce")
				token, err := p.Exchange(t.Context(), code, oauth2.VerifierOption(secret))
				if err != nil {
					t.Fatalf("%s: %v", r.ID, err)
				}
				api.accept(r.ID+"'s access token", token.AccessToken)
				raw, _ := token.Extra("id_token").(string)
				p.checkIDToken(t, alg, r, raw, token)
				if code := status(t, api.api+"/secure", raw); code != http.StatusUnauthorized {
					t.Errorf("%s: an API answered an ID token with %d, want 401", r.ID, code)
				}
				p.checkReuse(t, code, secret, token, api)
			}
		})
	}
}

func (p relyingParty) checkIDToken(t testing.TB, alg string, r registered, raw string, token *oauth2.Token) {
	t.Helper()
	// Discovery told the algorithms: nothing else is set.
	id, err := p.provider.VerifierContext(t.Context(), &oidc.Config{ClientID: r.ID}).Verify(t.Context(), raw)
	if err != nil {
		t.Fatalf("%s: %v", r.ID, err)
	}
	info, err := p.provider.UserInfo(t.Context(), oauth2.StaticTokenSource(token))
	if err != nil {
		t.Fatalf("%s: userinfo: %v", r.ID, err)
	}
	switch {
	case id.Nonce != "a nonce":
		t.Errorf("%s: the nonce is %q", r.ID, id.Nonce)
	case id.Subject == "" || info.Subject != id.Subject:
		t.Errorf("%s: the ID token is about %q, userinfo about %q", r.ID, id.Subject, info.Subject)
	}
	if err := id.VerifyAccessToken(token.AccessToken); err != nil {
		t.Errorf("%s: at_hash: %v", r.ID, err)
	}
	if id.VerifyAccessToken(token.AccessToken+"x") == nil {
		t.Errorf("%s: at_hash is right for another access token", r.ID)
	}
	for name, bad := range newProbes(t, alg, raw).bad {
		if _, err := p.provider.VerifierContext(t.Context(), &oidc.Config{ClientID: r.ID}).Verify(t.Context(), bad); err == nil {
			t.Errorf("%s: accepted %s as ID token", r.ID, name)
		}
	}
	if _, err := p.provider.VerifierContext(t.Context(), &oidc.Config{ClientID: "another"}).Verify(t.Context(), raw); err == nil {
		t.Errorf("%s: another client accepted the ID token", r.ID)
	}
	if _, err := p.provider.VerifierContext(t.Context(), &oidc.Config{ClientID: r.ID}).Verify(t.Context(), token.AccessToken); err == nil {
		t.Errorf("%s: accepted an access token as ID token", r.ID)
	}
}

// checkReuse: a code is good once, and whoever shows it again ends what came of it.
func (p relyingParty) checkReuse(t testing.TB, code, secret string, token *oauth2.Token, api *nodes) {
	t.Helper()
	next, err := p.TokenSource(t.Context(), expired(token.RefreshToken)).Token()
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Exchange(t.Context(), code, oauth2.VerifierOption(secret))
	refusal(t, "a code twice", err, http.StatusBadRequest, "invalid_grant")
	_, err = p.TokenSource(t.Context(), expired(next.RefreshToken)).Token()
	refusal(t, "refresh after the code was used twice", err, http.StatusBadRequest, "invalid_grant")
	api.soonRefuse("what came of a code used twice", next.AccessToken)
}

func TestXOAuth2CodeErrors(t *testing.T) {
	t.Parallel()
	w := newWorldWithClients(t)
	for name, style := range styles {
		t.Run(name, func(t *testing.T) {
			p, other := newRelyingParty(t, w, shop), newRelyingParty(t, w, odd)
			p.Endpoint.AuthStyle, other.Endpoint.AuthStyle = style, style
			code, _ := p.code(t, w, "a nonce")
			_, err := p.Exchange(t.Context(), code, oauth2.VerifierOption(oauth2.GenerateVerifier()))
			refusal(t, "another code_verifier", err, http.StatusBadRequest, "invalid_grant")

			code, _ = p.code(t, w, "a nonce")
			_, err = p.Exchange(t.Context(), code)
			refusal(t, "no code_verifier", err, http.StatusBadRequest, "invalid_request")

			code, secret := p.code(t, w, "a nonce")
			_, err = other.Exchange(t.Context(), code, oauth2.VerifierOption(secret))
			refusal(t, "another client's code", err, http.StatusBadRequest, "invalid_grant")

			wrong := *p.Config
			wrong.ClientSecret = "wrong"
			code, secret = p.code(t, w, "a nonce")
			_, err = wrong.Exchange(t.Context(), code, oauth2.VerifierOption(secret))
			refusal(t, "a wrong secret", err, http.StatusUnauthorized, "invalid_client")
		})
	}
}

// TestClientsLogIn: code, PKCE, state, iss, nonce and ID token, each checked by
// somebody else's code.
func TestClientsLogIn(t *testing.T) {
	t.Parallel()
	for _, alg := range algorithms {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			registry, secrets := newRegistry(t)
			w := newWorld(t, alg, "--clients", registry)
			w.secrets = secrets
			for _, r := range []registered{phone, shop} {
				eachClient(t, func(t *testing.T, command func(testing.TB) (string, []string)) {
					c := newClient(t, w, command, r)
					asked := c.does("authorize", map[string]string{"redirect_uri": callback, "scope": "openid profile"})
					back := logIn(t, asked.URL)
					if alg == "EdDSA" && strings.Contains(t.Name(), "authlib") {
						if r := c.try("callback", map[string]string{"url": back}); !strings.Contains(r.Problem, `Invalid claim "at_hash"`) {
							t.Errorf("Authlib knows at_hash for EdDSA now (%q): take it out of docs/interop.md and of here", r.Problem)
						}
						return
					}
					got := c.does("callback", map[string]string{"url": back})
					sub, _ := got.Claims["sub"].(string)
					if got.Access == "" || got.Refresh == "" || sub == "" {
						t.Fatalf("tokens are missing, or the subject %q", sub)
					}
					if info := c.does("userinfo", map[string]string{"token": got.Access, "sub": sub}); info.Sub != sub {
						t.Errorf("userinfo is about %q, want %q", info.Sub, sub)
					}
					c.does("refresh", token(got.Refresh))
					c.mayNot("the code again", "callback", map[string]string{"url": back}, "invalid_grant")
				})
			}
		})
	}
}
