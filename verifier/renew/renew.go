// Package renew lets an API hand out the next access token in a response header, for clients that cannot refresh: a page
// without a place for a refresh token, a device that only knows one request. It is off unless an API uses it.
//
// When a token that was just verified has little of its life left, the middleware exchanges it at the issuer (RFC 8693)
// and answers with
//
//	Quash-Access-Token: the next access token of the same session
//	Quash-Expires-In: seconds until it expires
//	Cache-Control: no-store
//	Vary: Authorization
//
// The client uses the new token from then on; if it does not, it gains and loses nothing.
//
// The price: who holds an access token can keep its session alive, up to the session's absolute end, without the refresh
// token. A stolen access token lives as long as the session, not minutes. Revoking the session, the user or the client still
// ends it within milliseconds. So this is for first-party APIs whose every caller is their own client, and
// never for third parties. A client that can hold a refresh token should use verifier/refresh.
package renew

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quash-auth/quash/verifier"
)

// Names of the headers.
const (
	HeaderToken   = "Quash-Access-Token"
	HeaderExpires = "Quash-Expires-In"
)

// Config says where tokens are renewed, and when.
type Config struct {
	// TokenURL is the issuer's token endpoint. Required. https, or http on a loopback host.
	TokenURL string
	// Issuer whose tokens are renewed, which the token endpoint belongs to: it gets to see no others. Empty: the verifier's, if that
	// has only one.
	Issuer string
	// ClientID and ClientSecret are the API's own, of a client that may exchange its users' tokens. Required.
	ClientID, ClientSecret string
	// Early is how long before its expiry a token is renewed, at most half of its life. Zero: a third of its life.
	Early time.Duration
	// Wait is the longest that a request is held up. Zero: 500 ms. What comes later goes out with the next request.
	Wait time.Duration
	// Timeout bounds one exchange. Zero: 5 s.
	Timeout time.Duration
	// Transport sends the exchanges. Nil: a clone of http.DefaultTransport.
	Transport http.RoundTripper
	// Logger is told of exchanges that failed, never a token. Nil: nobody is told.
	Logger *slog.Logger
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// AllowHTTP permits an http:// TokenURL on any host, which shows the secret and the tokens to the network.
	AllowHTTP bool
}

const (
	defaultWait    = 500 * time.Millisecond
	defaultTimeout = 5 * time.Second
	pause          = 5 * time.Second // after an exchange that the issuer did not answer
)

// Renewer exchanges tokens. Make it with New, and close it at the end. Its methods are safe for concurrent use.
type Renewer struct {
	v    *verifier.Verifier
	c    Config
	http *http.Client
	ctx  context.Context
	end  context.CancelFunc
	all  sync.WaitGroup

	renewed, refused, failed, late atomic.Uint64

	mu     sync.Mutex // guards what follows
	held   *held
	paused time.Time // until when no exchange begins
	closed bool
}

// name of a token. Not the jti alone: what one user gets must not reach another, whatever an issuer calls their tokens.
type name struct{ id, subject, session, client string }

// Stats are counters since New.
type Stats struct {
	Renewed uint64 // exchanges that gave a token
	Refused uint64 // exchanges that the issuer refused
	Failed  uint64 // exchanges without a usable answer
	Late    uint64 // requests that went on without waiting longer
}

// New checks the configuration. v is the verifier whose tokens are renewed; it also looks at the new ones. The error is
// verifier.ErrConfig and names the field.
func New(v *verifier.Verifier, c Config) (*Renewer, error) {
	bad := func(field, problem string) error {
		return fmt.Errorf("renew: Config.%s %s: %w", field, problem, verifier.ErrConfig)
	}
	u, err := url.Parse(c.TokenURL)
	switch {
	case v == nil:
		return nil, fmt.Errorf("renew: a verifier is needed: %w", verifier.ErrConfig)
	case err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "":
		return nil, bad("TokenURL", "is not an absolute URL without user and fragment")
	case u.Scheme != "https" && (u.Scheme != "http" || !c.AllowHTTP && !loopback(u.Hostname())):
		return nil, bad("TokenURL", "must be https")
	case c.ClientID == "":
		return nil, bad("ClientID", "is empty")
	case c.ClientSecret == "":
		return nil, bad("ClientSecret", "is empty")
	case c.Early < 0:
		return nil, bad("Early", "is negative")
	case c.Wait < 0:
		return nil, bad("Wait", "is negative")
	case c.Timeout < 0:
		return nil, bad("Timeout", "is negative")
	}
	known := v.Status().Issuers
	if c.Issuer == "" && len(known) == 1 {
		c.Issuer = known[0].Issuer
	}
	if !slices.ContainsFunc(known, func(i verifier.IssuerStatus) bool { return i.Issuer == c.Issuer }) {
		return nil, bad("Issuer", "is not one of the verifier's, or empty where it has several")
	}
	if c.Wait == 0 {
		c.Wait = defaultWait
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Transport == nil {
		c.Transport = &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true}
	}
	r := &Renewer{v: v, c: c, held: newHeld(maxHeld), http: &http.Client{
		Transport: c.Transport, Timeout: c.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the secret goes nowhere else
	}}
	r.ctx, r.end = context.WithCancel(context.Background())
	return r, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Close ends what is under way and waits for it. Afterwards nothing is renewed.
func (r *Renewer) Close() {
	r.mu.Lock()
	r.closed = true
	r.held = newHeld(0)
	r.mu.Unlock()
	r.end()
	r.all.Wait()
	r.http.CloseIdleConnections()
}

// Stats returns the counters.
func (r *Renewer) Stats() Stats {
	return Stats{Renewed: r.renewed.Load(), Refused: r.refused.Load(), Failed: r.failed.Load(), Late: r.late.Load()}
}
