package verifier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/quash-auth/quash/internal/jws"
)

const (
	fetchTimeout = 10 * time.Second
	maxRedirects = 3
)

// urlReader fetches a JWK Set.
type urlReader struct {
	url    string
	client *http.Client
}

// newURLReader limits where the answer may come from: redirects stay on the host, and never leave https.
func newURLReader(address string, client *http.Client) *urlReader {
	own := http.Client{}
	if client != nil {
		own = *client
	} else if t, ok := http.DefaultTransport.(*http.Transport); ok {
		t = t.Clone()
		t.DisableKeepAlives = true // the next fetch is minutes away, and nothing may be left when Run has ended
		own.Transport = t
	}
	if own.Timeout == 0 {
		own.Timeout = fetchTimeout
	}
	own.Jar = nil
	own.CheckRedirect = checkRedirect
	return &urlReader{url: address, client: &own}
}

func checkRedirect(r *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case r.URL.Host != first.Host:
		return fmt.Errorf("redirected to another host, %q", r.URL.Host)
	case r.URL.Scheme != first.Scheme && r.URL.Scheme != "https":
		return errors.New("redirected away from https")
	}
	return nil
}

func (u *urlReader) read(ctx context.Context, allowed jws.AlgSet) (*jws.KeySet, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.url, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch the JWK Set: %w", err)
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	answer, err := u.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("fetch the JWK Set: %w", err)
	}
	defer answer.Body.Close() //nolint:errcheck // read only
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch the JWK Set: %s answers %s", u.url, answer.Status)
	}
	doc, err := io.ReadAll(io.LimitReader(answer.Body, jws.MaxKeySetBytes+1))
	if err != nil {
		return nil, fmt.Errorf("fetch the JWK Set: %w", err)
	}
	return jws.ParseKeySet(doc, allowed)
}

func (u *urlReader) changed() bool       { return false }
func (u *urlReader) poll() time.Duration { return 0 }

// checkKeyURL returns what is wrong with the address of a JWK Set, or "".
func checkKeyURL(s string, allowHTTP bool) string {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return "is not an absolute URL"
	case u.User != nil:
		return "must not carry a user or password"
	case u.Scheme == "https":
		return ""
	case u.Scheme == "http" && (allowHTTP || loopbackHost(u.Hostname())):
		return ""
	case u.Scheme == "http":
		return "must be https; http is for loopback hosts, or set AllowHTTP"
	}
	return "must be an https URL"
}
