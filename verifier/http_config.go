package verifier

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const defaultRealm = "api"

// HTTPConfig says how one handler, or a group of them, is protected. The zero value demands a token in the
// Authorization header and nothing more.
type HTTPConfig struct {
	// Realm is the realm of the challenge. Empty: "api". Printable ASCII without quote and backslash.
	Realm string
	// ResourceMetadata is the URL of the RFC 9728 metadata document, named in the challenge to
	// requests without credentials. Empty: not named. https, or http on a loopback host.
	ResourceMetadata string
	// Scope lists the scope values that are needed, all of them. Empty: none. Refused with 403.
	Scope []string
	// Cookie is the name of a cookie that may carry the token in place of the header. Empty: no cookie.
	// With a cookie, methods other than GET, HEAD and OPTIONS, and WebSockets, need a proof of the same origin:
	// Sec-Fetch-Site same-origin, or an Origin whose host is the request's. Browsers send one of them.
	Cookie string
	// Origins of pages that may also use the cookie for those, such as https://app.example: a page on a sibling host. The
	// browser must be told so too, by the CORS handler. Empty: the API's own pages alone. Not without Cookie.
	Origins []string
	// OneTime accepts one-time tokens and no others, in the Authorization header, and uses each up before the handler runs:
	// see Redeem. The scope is looked at first. A handler that fails does not give the token back. False: ordinary
	// tokens and no one-time tokens.
	OneTime bool
	// Preflight answers CORS preflight requests, which carry no token: the CORS handler, if it does not stand in front of
	// the middleware anyway. Nil: 204 without CORS headers, which browsers take for a no.
	Preflight http.Handler
	// MaxStaleness replaces the verifier's bound for this handler. Zero: the verifier's bound and policy.
	MaxStaleness time.Duration
	// OnStale is the policy that goes with MaxStaleness, and must be left alone without it.
	OnStale StalePolicy
	// OnError is told of every refusal, before it is answered: for counters and logs. It must not write to the
	// response, and should not log the Authorization or Cookie header. Nil: nobody is told.
	OnError func(*http.Request, error)
}

// Validate returns ErrConfig with the name of the first field that is wrong. Middleware calls it too, and
// answers every request with 500 if it fails: a mistake never opens a handler.
func (c HTTPConfig) Validate() error {
	if !quotable(c.Realm) {
		return fieldError("Realm", "has a quote, a backslash, or a character outside printable ASCII")
	}
	if c.ResourceMetadata != "" {
		if err := checkMetadataURL(c.ResourceMetadata); err != "" {
			return fieldError("ResourceMetadata", err)
		}
	}
	for _, s := range c.Scope {
		if s == "" || strings.Contains(s, " ") || !quotable(s) {
			return fieldError("Scope", fmt.Sprintf("%q is not one scope value (RFC 6749 section 3.3)", s))
		}
	}
	for i := range len(c.Cookie) {
		if !isTokenChar(c.Cookie[i]) {
			return fieldError("Cookie", fmt.Sprintf("%q is not a cookie name", c.Cookie))
		}
	}
	for _, o := range c.Origins {
		u, err := url.Parse(o)
		if err != nil || u.Host == "" || o != u.Scheme+"://"+u.Host || o != strings.ToLower(o) || u.Scheme != "https" && (u.Scheme != "http" || !loopbackHost(u.Hostname())) {
			return fieldError("Origins", fmt.Sprintf("%q is not an origin like https://app.example", o))
		}
	}
	switch {
	case len(c.Origins) > 0 && c.Cookie == "":
		return fieldError("Origins", "is set without Cookie")
	case c.OneTime && c.Cookie != "":
		return fieldError("OneTime", "and Cookie are both set: a browser would send the token by itself, and use it up")
	case c.MaxStaleness < 0:
		return fieldError("MaxStaleness", "is negative")
	case c.OnStale != Deny && c.OnStale != Allow:
		return fieldError("OnStale", "is neither Deny nor Allow")
	case c.OnStale != Deny && c.MaxStaleness == 0:
		return fieldError("OnStale", "is set without MaxStaleness")
	}
	return nil
}

func fieldError(field, problem string) error {
	return fmt.Errorf("HTTPConfig.%s %s: %w", field, problem, ErrConfig)
}

// checkMetadataURL returns what is wrong with the URL, or "".
func checkMetadataURL(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || !quotable(s) || strings.Contains(s, " "):
		return "is not an absolute URL"
	case u.Fragment != "" || u.User != nil:
		return "must have neither a fragment nor a user"
	case u.Scheme == "https":
		return ""
	case u.Scheme == "http" && loopbackHost(u.Hostname()):
		return ""
	default:
		return "must be an https URL"
	}
}

func loopbackHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
