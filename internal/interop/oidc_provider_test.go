package interop

import (
	"errors"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
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
		code := walk(t, cfg.AuthCodeURL("state", oauth2.S256ChallengeOption(secret), oauth2.SetAuthURLParam("login_hint", name),
			oauth2.SetAuthURLParam("resource", "urn:orders")), cfg.RedirectURL)
		token, err := cfg.Exchange(t.Context(), code, oauth2.VerifierOption(secret))
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

// walk follows redirects with cookies, as a browser does, up to the client's own
// address, and gives the code.
func walk(t testing.TB, target, redirect string) string {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	var there *url.URL
	arrived := errors.New("arrived")
	browser := &http.Client{Jar: jar, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if strings.HasPrefix(req.URL.String(), redirect) {
			there = req.URL
			return arrived
		}
		if len(via) > 10 {
			return errors.New("too many redirects")
		}
		return nil
	}}
	res, err := browser.Get(target)
	if there == nil {
		body := ""
		if err == nil {
			body = readAll(t, res.Body)
			_ = res.Body.Close()
		}
		t.Fatalf("authorization did not come back to the client: %v %s", err, body)
	}
	code := there.Query().Get("code")
	if code == "" {
		t.Fatalf("authorization came back with %s", there.RawQuery)
	}
	return code
}
