package refresh

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Config is what a Transport needs to know.
type Config struct {
	// Origins are the APIs that get the access token: scheme, host and port, such as "https://api.example.com".
	// Required. Requests to any other origin, redirects included, pass without a token.
	Origins []string
	// TokenURL is the issuer's token endpoint. Required. It gets the refresh token; its redirects are not followed.
	TokenURL string
	// ClientID is sent with each refresh. Required.
	ClientID string
	// ClientSecret makes it a confidential client (HTTP Basic, RFC 6749 section 2.3.1). Empty: a public client.
	ClientSecret string
	// Machine makes it a client that acts for itself: it has no refresh token and no user, and gets each access token, the
	// first one too, by client_credentials (RFC 6749 section 4.4). ClientSecret is then required. A client that
	// was disabled gets ErrClient.
	Machine bool
	// Scope is asked for by a Machine. Empty: what the issuer gives by default.
	Scope []string
	// Tokens is the state to start from, as Save got it last. Zero: signed out until SetTokens.
	Tokens Tokens
	// Save stores the tokens of each refresh before they are used, and zero Tokens when the session is over. It is
	// called by one goroutine at a time and must not call SetTokens. Nil: tokens live in memory only.
	Save func(Tokens) error
	// Early refreshes this long before the access token expires, spread over a further fifth of it so that many
	// clients do not come at once. Zero: refresh only when the API refuses the token.
	Early time.Duration
	// Timeout bounds one refresh. It is not cut short when the request that caused it is cancelled, since the
	// issuer may have replaced the refresh token already. Zero: 30 s.
	Timeout time.Duration
	// Base sends the requests. Nil: http.DefaultTransport.
	Base http.RoundTripper
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// AllowHTTP permits http:// to hosts other than loopback ones, which exposes the tokens to the network.
	AllowHTTP bool
}

// checked returns c with its defaults, and the set of its origins.
func (c Config) checked() (Config, map[string]bool, error) {
	if len(c.Origins) == 0 {
		return c, nil, fieldError("Origins", "is empty")
	}
	origins := make(map[string]bool, len(c.Origins))
	for _, s := range c.Origins {
		u, err := c.safeURL("Origins", s)
		if err != nil {
			return c, nil, err
		}
		if u.Path != "" && u.Path != "/" || u.RawQuery != "" {
			return c, nil, fieldError("Origins", fmt.Sprintf("%q has more than scheme, host and port", s))
		}
		origins[originOf(u)] = true
	}
	if _, err := c.safeURL("TokenURL", c.TokenURL); err != nil {
		return c, nil, err
	}
	switch {
	case c.ClientID == "":
		return c, nil, fieldError("ClientID", "is empty")
	case c.Machine && c.ClientSecret == "":
		return c, nil, fieldError("ClientSecret", "is empty: a Machine proves who it is")
	case !c.Machine && len(c.Scope) > 0:
		return c, nil, fieldError("Scope", "is set without Machine: a refresh keeps the scope of the login")
	case c.Early < 0:
		return c, nil, fieldError("Early", "is negative")
	case c.Timeout < 0:
		return c, nil, fieldError("Timeout", "is negative")
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Base == nil {
		c.Base = http.DefaultTransport
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, origins, nil
}

func (c Config) safeURL(field, s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "":
		return nil, fieldError(field, fmt.Sprintf("%q is not an absolute URL", s))
	case u.User != nil || u.Fragment != "":
		return nil, fieldError(field, "must have neither a user nor a fragment")
	case u.Scheme == "https":
		return u, nil
	case u.Scheme == "http" && (c.AllowHTTP || loopbackHost(u.Hostname())):
		return u, nil
	default:
		return nil, fieldError(field, fmt.Sprintf("%q must be https", s))
	}
}

func fieldError(field, problem string) error {
	return fmt.Errorf("%w: Config.%s %s", ErrConfig, field, problem)
}

// originOf is scheme, host and port of u in one spelling.
func originOf(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[strings.ToLower(u.Scheme)]
	}
	return strings.ToLower(u.Scheme) + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

func loopbackHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
