package refresh_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier"
	"github.com/quash-auth/quash/verifier/refresh"
	"github.com/quash-auth/quash/verifier/verifiertest"
)

// The client's rule and the server's table fit together.
func TestM20_AgainstTheMiddleware(t *testing.T) {
	iss := verifiertest.New(t)
	api := httptest.NewServer(iss.Verifier().Middleware(verifier.HTTPConfig{})(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	t.Cleanup(api.Close)
	w := newWorld(t)
	next := iss.Mint(verifiertest.ID("second"))
	w.token = tokenAnswer(`{"access_token":"` + next + `","refresh_token":"r2"}`)
	config := w.config()
	config.Origins = []string{api.URL}
	config.Tokens.Access = iss.Mint(verifiertest.ID("first"))
	c, transport := w.client(t, config)
	ask := func(want int) {
		t.Helper()
		if status, _, err := get(t, c, api.URL); err != nil || status != want {
			t.Errorf("got %d, %v; want %d", status, err, want)
		}
	}
	ask(200)
	w.want(t, 0, 0)
	iss.SetStale(true)
	ask(503) // the API's outage: wait, and do not refresh
	w.want(t, 0, 0)
	iss.SetStale(false)
	iss.Revoke(events.Revocation{Scope: events.Token, Key: "first"})
	ask(200) // renewed
	w.want(t, 0, 1)
	if transport.Tokens().Access != next {
		t.Error("the new token is not in use")
	}
	w.set(func() { w.token = tokenError(400, "invalid_grant") })
	iss.Revoke(events.Revocation{Scope: events.Session, Key: "session-1"})
	if _, _, err := get(t, c, api.URL); !errors.Is(err, refresh.ErrSignedOut) {
		t.Errorf("got %v, want ErrSignedOut", err)
	}
	w.want(t, 0, 2)
}
