package interop

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	xoauth2 "golang.org/x/oauth2"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/verifier"
)

// nodes are two APIs behind our verifier, which accept the tokens of somebody
// else's issuer: one embeds the library, the other is quash api.
type nodes struct {
	t       testing.TB
	library *verifier.Verifier
	api     string
}

func newNodes(t testing.TB, natsURL, issuer, jwks string, profile verifier.Profile) *nodes {
	t.Helper()
	nc, err := events.Connect(events.ConnectConfig{URL: natsURL, Name: "library"})
	if err != nil {
		t.Fatal(err)
	}
	natstest.Connected(t, nc)
	t.Cleanup(nc.Close)
	v, err := verifier.New(verifier.Config{NATS: nc, Issuers: []verifier.Issuer{
		{Issuer: issuer, JWKSURL: jwks, Audience: []string{audience}, Profile: profile}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: got %v, want nil", err)
		}
	})
	n := &nodes{t: t, library: v}
	p := startQuash(t, "api", "--nats", natsURL, "--listen", "127.0.0.1:0", "--issuer", issuer, "--jwks", jwks, "--profile", profile.String())
	secure, err := p.waitFor(`api: (\S+)/secure`)
	if err != nil {
		t.Fatal(err)
	}
	n.api = secure
	until(t, "the library is ready", func() bool { return v.Ready() == nil })
	p.ready(t, n.api+"/readyz")
	return n
}

func status(t testing.TB, url, raw string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if raw != "" {
		req.Header.Set("Authorization", "Bearer "+raw)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

func (n *nodes) accept(what, raw string) {
	n.t.Helper()
	if _, err := n.library.Verify(n.t.Context(), raw); err != nil {
		n.t.Errorf("%s: the library says %v, want accepted", what, err)
	}
	if got := status(n.t, n.api+"/secure", raw); got != http.StatusOK {
		n.t.Errorf("%s: quash api says %d, want 200", what, got)
	}
}

// soonRefuse waits until both refuse it, as revoked and nothing else.
func (n *nodes) soonRefuse(what, raw string) {
	n.t.Helper()
	until(n.t, what+": the library refuses it", func() bool {
		_, err := n.library.Verify(n.t.Context(), raw)
		if err != nil && !errors.Is(err, verifier.ErrRevoked) {
			n.t.Fatalf("%s: the library says %v, want ErrRevoked", what, err)
		}
		return err != nil
	})
	until(n.t, what+": quash api refuses it", func() bool {
		got := status(n.t, n.api+"/secure", raw)
		if got != http.StatusOK && got != http.StatusUnauthorized {
			n.t.Fatalf("%s: quash api says %d, want 401", what, got)
		}
		return got == http.StatusUnauthorized
	})
}

// ensureStream is what an operator does once.
func ensureStream(t testing.TB, natsURL string) {
	t.Helper()
	var err error
	for range 3 { // it gives a busy server a few seconds only
		if _, err = tryProgram(t, nil, binary, "stream", "ensure", "--nats", natsURL); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// postForm posts a form as a client with a secret.
func postForm(t testing.TB, target, id, secret string, form url.Values) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // only read
	text := readAll(t, res.Body)
	return res.StatusCode, text
}

// TestForeignIssuerFosite is delight D6 of the standards sheet: an issuer that is not ours
// gains revocation at every node by one hook.
func TestForeignIssuerFosite(t *testing.T) {
	t.Parallel()
	for _, profile := range []verifier.Profile{verifier.Strict, verifier.Relaxed} {
		t.Run(profile.String(), func(t *testing.T) {
			t.Parallel()
			broker := natstest.Start(t)
			ensureStream(t, broker.URL())
			f := newFosite(t, profile == verifier.Strict, broker.URL())
			n := newNodes(t, broker.URL(), f.url, f.url+"/keys", profile)
			refresh := func(old *xoauth2.Token) (*xoauth2.Token, error) {
				return f.client().TokenSource(t.Context(), &xoauth2.Token{RefreshToken: old.RefreshToken, Expiry: time.Now().Add(-time.Hour)}).Token()
			}
			ada, bob, laptop := f.login(t, "ada"), f.login(t, "bob"), f.login(t, "ada")
			for what, token := range map[string]*xoauth2.Token{"ada": ada, "bob": bob, "ada's laptop": laptop} {
				n.accept(what, token.AccessToken)
			}

			// RFC 7009, asked of fosite by the client.
			if code, body := postForm(t, f.url+"/revoke", fositeClient, fositeSecret, url.Values{"token": {ada.AccessToken}}); code != http.StatusOK {
				t.Fatalf("fosite's revocation endpoint: %d %s", code, body)
			}
			n.soonRefuse("ada, revoked", ada.AccessToken)
			n.accept("bob, untouched", bob.AccessToken)
			n.accept("ada's laptop, another grant", laptop.AccessToken)

			// Rotation is no ending; reuse of the old refresh token is one, for all that the grant gave.
			next, err := refresh(laptop)
			if err != nil {
				t.Fatal(err)
			}
			n.accept("ada's laptop, refreshed", next.AccessToken)
			if _, err := refresh(laptop); err == nil {
				t.Fatal("fosite took a used refresh token")
			}
			n.soonRefuse("ada's laptop, its refresh token used twice", next.AccessToken)
			n.soonRefuse("the token before", laptop.AccessToken)
			n.accept("bob, untouched", bob.AccessToken)
		})
	}
}
