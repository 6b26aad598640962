package issuer

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Cookies is how browsers hold tokens where scripts cannot read them. Nobody gets cookies without asking: the member cookies of
// POST /login, the parameter cookies of POST /token, or the refresh cookie itself. All are HttpOnly and Secure (browsers
// take localhost for secure). Requests with cookies must come from the issuer's own origin or one of Origins.
type Cookies struct {
	// Access is the name of the access token's cookie, for verifier.HTTPConfig.Cookie; empty: "__Host-quash" if the browser can hold
	// the cookie to its host, which needs https, no Domain and no Path; else "__Secure-quash"; with an http issuer "quash".
	Access string
	// Refresh is the name of the refresh token's cookie, which browsers send to the issuer's own host and path only; empty: as
	// Access, with "quash-refresh".
	Refresh string
	// Domain of the access cookie: that host and all below it get it, whoever runs them. Empty: the issuer's host alone.
	Domain string
	// Path of the access cookie; empty: "/".
	Path string
	// SameSite of the access cookie: Lax (also zero), Strict or None. None sends it with the requests of every other site too:
	// it is refused unless Origins says which of them may act. The refresh cookie is Strict, or None with None.
	SameSite http.SameSite
	// Origins of pages that may log in, refresh and log out by cookie beside the issuer's own, such as https://app.example.
	// The issuer answers no CORS requests: what stands in front of it must.
	Origins []string

	refreshPath string
	refreshSite http.SameSite
}

// complete fills the defaults and says what is wrong.
func (c Cookies) complete(issuer string) (Cookies, string) {
	u, err := url.Parse(issuer)
	if err != nil {
		return c, "needs an Issuer that is a URL"
	}
	if u.Scheme != "https" && !loopback(u.Hostname()) {
		return c, "needs an https Issuer: browsers keep Secure cookies of no other, but for those on loopback"
	}
	if c.refreshPath = strings.TrimSuffix(u.Path, "/"); c.refreshPath == "" {
		c.refreshPath = "/"
	}
	if c.SameSite == 0 || c.SameSite == http.SameSiteDefaultMode {
		c.SameSite = http.SameSiteLaxMode
	}
	c.refreshSite = http.SameSiteStrictMode
	if c.SameSite == http.SameSiteNoneMode {
		c.refreshSite = http.SameSiteNoneMode
	}
	prefix := func(hostOnly bool) string {
		switch {
		case u.Scheme != "https":
			return ""
		case hostOnly:
			return "__Host-"
		}
		return "__Secure-"
	}
	if c.Access == "" {
		c.Access = prefix(c.Domain == "" && (c.Path == "" || c.Path == "/")) + "quash"
	}
	if c.Path == "" {
		c.Path = "/"
	}
	if c.Refresh == "" {
		c.Refresh = prefix(c.refreshPath == "/") + "quash-refresh"
	}
	c.Origins = slices.Clone(c.Origins)
	return c, c.check(u)
}

func (c Cookies) check(issuer *url.URL) string {
	for _, name := range []string{c.Access, c.Refresh} {
		if (&http.Cookie{Name: name, Value: "x"}).Valid() != nil {
			return fmt.Sprintf("%.64q is not a cookie name", name)
		}
		if lower := strings.ToLower(name); issuer.Scheme != "https" && (strings.HasPrefix(lower, "__host-") || strings.HasPrefix(lower, "__secure-")) {
			return fmt.Sprintf("%s: browsers take this prefix from https only", name)
		}
	}
	host := strings.ToLower(issuer.Hostname())
	domain := strings.TrimPrefix(strings.ToLower(c.Domain), ".")
	switch {
	case c.Access == c.Refresh:
		return "Access and Refresh are the same name"
	case strings.HasPrefix(strings.ToLower(c.Access), "__host-") && (c.Domain != "" || c.Path != "/"):
		return fmt.Sprintf("Access: %s must not have a Domain or a Path", c.Access)
	case strings.HasPrefix(strings.ToLower(c.Refresh), "__host-") && c.refreshPath != "/":
		return fmt.Sprintf("Refresh: %s is not for an issuer with a path: APIs on its host would get the refresh token", c.Refresh)
	case c.Path[0] != '/' || strings.ContainsAny(c.Path, ";, \t\r\n"):
		return "Path must begin with / and have no ; , or space"
	case c.Domain != "" && (net.ParseIP(host) != nil || !strings.Contains(domain, ".") || host != domain && !strings.HasSuffix(host, "."+domain)):
		return fmt.Sprintf("Domain: browsers refuse %.128q from %s: it must be that host or a domain above it", c.Domain, host)
	case c.SameSite < http.SameSiteLaxMode || c.SameSite > http.SameSiteNoneMode:
		return "SameSite must be Lax, Strict or None"
	case c.SameSite == http.SameSiteNoneMode && len(c.Origins) == 0:
		return "SameSite: None sends the cookies with the requests of every site; Origins must name those that may act"
	}
	for _, o := range c.Origins {
		if u, err := url.Parse(o); err != nil || o != originFrom(u) || u.Scheme != "https" && !loopback(u.Hostname()) {
			return fmt.Sprintf("Origins: %.128q is not an origin like https://app.example", o)
		}
	}
	return ""
}

// originFrom is what browsers write into the header Origin: in lower case, and without the scheme's own port.
func originFrom(u *url.URL) string {
	host := strings.ToLower(u.Host)
	switch u.Scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	}
	return u.Scheme + "://" + host
}

const maxCookie = 4096 // bytes of name and value that browsers must keep (RFC 6265 §6.1)

// set gives the browser both tokens.
func (c *Cookies) set(w http.ResponseWriter, g *grant, now time.Time) error {
	if len(c.Access)+len(g.access) > maxCookie {
		return &fault{status: http.StatusBadRequest, code: "invalid_scope", description: "the access token is too large for a cookie, ask for a smaller scope"}
	}
	http.SetCookie(w, c.cookie(c.Access, g.access, int(g.life/time.Second)))
	if g.refresh == "" {
		http.SetCookie(w, c.cookie(c.Refresh, "", -1))
		return nil
	}
	http.SetCookie(w, c.cookie(c.Refresh, g.refresh, max(int(left(g.session.Idle, now)), 1)))
	return nil
}

// clear takes both away.
func (c *Cookies) clear(w http.ResponseWriter) {
	http.SetCookie(w, c.cookie(c.Access, "", -1))
	http.SetCookie(w, c.cookie(c.Refresh, "", -1))
}

func (c *Cookies) cookie(name, value string, seconds int) *http.Cookie {
	k := &http.Cookie{Name: name, Value: value, MaxAge: seconds, HttpOnly: true, Secure: true, Path: c.Path, Domain: c.Domain, SameSite: c.SameSite}
	if name == c.Refresh {
		k.Path, k.Domain, k.SameSite = c.refreshPath, "", c.refreshSite
	}
	return k
}
