package interop

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"golang.org/x/oauth2/clientcredentials"

	"github.com/quash-auth/quash/verifier"
)

func TestXOAuth2ClientCredentials(t *testing.T) {
	t.Parallel()
	w := newWorldWithClients(t)
	api := newNodes(t, w.nats.URL(), w.issuer, w.jwks(), verifier.Strict)
	for name, style := range styles {
		t.Run(name, func(t *testing.T) {
			cfg := clientcredentials.Config{ClientID: job.ID, ClientSecret: w.secrets[job.ID], TokenURL: w.issuer + "/token", AuthStyle: style}
			got, err := cfg.Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if scope := got.Extra("scope"); got.RefreshToken != "" || !got.Valid() || scope != "read write" {
				t.Errorf("got scope %v, refresh token %q, expiry %v", scope, got.RefreshToken, got.Expiry)
			}
			api.accept("its token", got.AccessToken)
			p := newProbes(t, "ES256", got.AccessToken)
			p.check(t, script{name: "oauth4webapi", command: node("verify_oauth4webapi.mjs")}.judge(t, w, "ES256", p))
			if code, body := postForm(t, w.issuer+"/revoke", job.ID, w.secrets[job.ID], url.Values{"token": {got.AccessToken}}); code != http.StatusOK {
				t.Errorf("revoke: %d %s", code, body)
			}
			api.soonRefuse("its token, revoked", got.AccessToken)

			less := cfg
			less.Scopes = []string{"read", "not mine"}
			if got, err := less.Token(t.Context()); err != nil || got.Extra("scope") != "read" {
				t.Errorf("a part of its scopes: %v %v, want read", got, err)
			}
			none := cfg
			none.Scopes = []string{"admin"}
			_, err = none.Token(t.Context())
			refusal(t, "none of its scopes", err, http.StatusBadRequest, "invalid_scope")
			wrong := cfg
			wrong.ClientSecret = "wrong"
			_, err = wrong.Token(t.Context())
			refusal(t, "a wrong secret", err, http.StatusUnauthorized, "invalid_client")
			nobody := cfg
			nobody.ClientID = "nobody"
			_, err = nobody.Token(t.Context())
			refusal(t, "an unknown client", err, http.StatusUnauthorized, "invalid_client")
			person := cfg
			person.ClientID, person.ClientSecret = shop.ID, w.secrets[shop.ID]
			_, err = person.Token(t.Context())
			refusal(t, "a client without the grant", err, http.StatusBadRequest, "unauthorized_client")
		})
	}
}

func TestClientsGetTheirOwnTokens(t *testing.T) {
	t.Parallel()
	w := newWorldWithClients(t)
	for _, auth := range []string{"client_secret_basic", "client_secret_post"} {
		r, people := job, shop
		r.Auth, people.Auth = auth, auth
		t.Run(auth, func(t *testing.T) {
			eachClient(t, func(t *testing.T, command func(testing.TB) (string, []string)) {
				c := newClient(t, w, command, r)
				got := c.does("client_credentials", nil)
				if got.Access == "" || got.Refresh != "" || got.Scope != "read write" || got.Expires <= 0 {
					t.Errorf("got scope %q for %d s, and a refresh token: %v", got.Scope, got.Expires, got.Refresh != "")
				}
				if less := c.does("client_credentials", map[string]string{"scope": "write"}); less.Scope != "write" {
					t.Errorf("asked for write: got %q", less.Scope)
				}
				c.mayNot("none of its scopes", "client_credentials", map[string]string{"scope": "admin"}, "invalid_scope")
				if seen := c.does("introspect", token(got.Access)); seen.Active == nil || !*seen.Active || seen.Sub != "client:"+job.ID {
					t.Errorf("introspection of its own token: %v", seen.members)
				}
				c.does("revoke", token(got.Access))
				checkInactive(t, "its token, revoked", c.does("introspect", token(got.Access)))
				newClient(t, w, command, people).mayNot("a client without the grant", "client_credentials", nil, "unauthorized_client")
				wrong := r
				wrong.Secret = "wrong"
				newClient(t, w, command, wrong).mayNot("a wrong secret", "client_credentials", nil, "invalid_client")
			})
		})
	}
}

// TestS2_StrangersIntrospect is S2 with strict clients.
func TestS2_StrangersIntrospect(t *testing.T) {
	t.Parallel()
	w := newWorldWithClients(t)
	eachClient(t, func(t *testing.T, command func(testing.TB) (string, []string)) {
		asks, owner, stranger := newClient(t, w, command, gateway), newClient(t, w, command, shop), newClient(t, w, command, job)
		public := newClient(t, w, command, phone)
		s := w.loginTo(shop)
		for who, c := range map[string]*oauthClient{"who stands for the audience": asks, "the owner": owner} {
			seen := c.does("introspect", token(s.Access))
			if seen.Active == nil || !*seen.Active {
				t.Fatalf("%s: %v, want active", who, seen.members)
			}
			for member, want := range map[string]any{"client_id": shop.ID, "iss": w.issuer, "aud": audience, "token_type": "Bearer"} {
				if seen.members[member] != want {
					t.Errorf("%s: %s: got %v, want %v", who, member, seen.members[member], want)
				}
			}
		}
		checkInactive(t, "a token that is not its business", stranger.does("introspect", token(s.Access)))
		checkInactive(t, "nonsense", asks.does("introspect", token("nonsense")))
		checkInactive(t, "another client's refresh token", asks.does("introspect", token(s.Refresh)))
		if seen := owner.does("introspect", token(s.Refresh)); seen.Active == nil || !*seen.Active {
			t.Errorf("its own refresh token: %v, want active", seen.members)
		}
		public.mayNot("a public client", "introspect", token(s.Access), "invalid_client")

		owner.does("revoke", token(s.Refresh))
		until(t, "the access token of the session is inactive", func() bool {
			seen := asks.does("introspect", token(s.Access))
			return seen.Active != nil && !*seen.Active
		})
		checkInactive(t, "the access token of an ended session", asks.does("introspect", token(s.Access)))
		checkInactive(t, "its refresh token", owner.does("introspect", token(s.Refresh)))
	})
}

// checkInactive: RFC 7662 §2.2, active false and nothing else.
func checkInactive(t testing.TB, what string, r reply) {
	t.Helper()
	if r.Active == nil || *r.Active || !slices.Equal(slices.Collect(maps.Keys(r.members)), []string{"active"}) {
		t.Errorf(`%s: got %v, want {"active":false}`, what, r.members)
	}
}
