package interop

import (
	"net/http"
	"net/url"
	"testing"

	"golang.org/x/oauth2"

	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/verifier"
)

// TestForeignIssuerOIDCProvider is D6 with a certified issuer in another language:
// its tokens are those of RFC 9068, and its hook runs quash revoke.
func TestForeignIssuerOIDCProvider(t *testing.T) {
	t.Parallel()
	broker := natstest.Start(t)
	ensureStream(t, broker.URL())
	p := startPipe(t, node("issuer_oidc_provider.mjs"))
	var started struct {
		Issuer string `json:"issuer"`
	}
	if err := p.ask(map[string]string{"quash": binary, "nats": broker.URL(), "audience": audience}, &started); err != nil {
		t.Fatal(err)
	}
	iss := started.Issuer
	n := newNodes(t, broker.URL(), iss, iss+"/jwks", verifier.Strict)
	cfg := &oauth2.Config{ClientID: "shop", RedirectURL: "http://127.0.0.1/callback", Scopes: []string{"openid", "offline_access", "orders"},
		Endpoint: oauth2.Endpoint{AuthURL: iss + "/auth", TokenURL: iss + "/token", AuthStyle: oauth2.AuthStyleInParams}}
	login := func(name string) *oauth2.Token {
		t.Helper()
		secret := oauth2.GenerateVerifier()
		b := newBrowser(t, cfg.RedirectURL)
		status, page := b.open(cfg.AuthCodeURL("state", oauth2.S256ChallengeOption(secret), oauth2.SetAuthURLParam("login_hint", name),
			oauth2.SetAuthURLParam("resource", "urn:orders")))
		if b.landed == nil {
			t.Fatalf("authorization: %d %s", status, page)
		}
		token, err := cfg.Exchange(t.Context(), b.landed.Query().Get("code"), oauth2.VerifierOption(secret))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	ada, bob, laptop := login("ada"), login("bob"), login("ada")
	n.accept("ada", ada.AccessToken)
	n.accept("bob", bob.AccessToken)
	n.accept("ada's laptop", laptop.AccessToken)

	res, err := http.PostForm(iss+"/token/revocation", url.Values{"client_id": {"shop"}, "token": {ada.RefreshToken}})
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("oidc-provider's revocation endpoint: %s", res.Status)
	}
	n.soonRefuse("ada, revoked", ada.AccessToken)
	n.accept("bob, untouched", bob.AccessToken)
	n.accept("ada's laptop, another grant", laptop.AccessToken)

	next, err := cfg.TokenSource(t.Context(), expired(laptop.RefreshToken)).Token()
	if err != nil {
		t.Fatal(err)
	}
	n.accept("ada's laptop, refreshed", next.AccessToken)
	if _, err := cfg.TokenSource(t.Context(), expired(laptop.RefreshToken)).Token(); err == nil {
		t.Fatal("oidc-provider took a used refresh token")
	}
	n.soonRefuse("ada's laptop, its refresh token used twice", next.AccessToken)
	n.accept("bob, untouched", bob.AccessToken)
}
