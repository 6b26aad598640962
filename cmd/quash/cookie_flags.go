package main

import (
	"cmp"
	"net/http"

	"github.com/quash-auth/quash/issuer"
	"github.com/quash-auth/quash/verifier"
)

// cookieFlags say how browsers hold tokens.
type cookieFlags struct {
	Cookies        bool     `help:"Give tokens in cookies, which scripts can not read, to browsers that ask for it; see docs/browser.md."`
	Cookie         string   `placeholder:"NAME" help:"Name of the access token's cookie, the same as for the APIs (default: __Host-quash; __Secure-quash with --cookie-domain; quash if the issuer is http)."`
	CookieDomain   string   `placeholder:"DOMAIN" help:"Send the access token's cookie to this domain and all hosts below it (default: the issuer's host alone)."`
	CookieSameSite string   `default:"lax" enum:"lax,strict,none" help:"Whether requests that other sites cause carry the access token's cookie: ${enum} (${default}); none only with --cookie-origin."`
	CookieOrigin   []string `placeholder:"URL" help:"Origin of pages that may log in, refresh and log out by cookie, beside the issuer's own."`
}

// check refuses what would have no effect.
func (f *cookieFlags) check() error {
	if !f.Cookies && (f.Cookie != "" || f.CookieDomain != "" || f.CookieSameSite != "lax" || len(f.CookieOrigin) > 0) {
		return usagef("--cookies", "is missing: without it the other cookie flags do nothing")
	}
	return nil
}

func (f *cookieFlags) apply(c *issuer.Config) {
	if !f.Cookies {
		return
	}
	site := map[string]http.SameSite{"strict": http.SameSiteStrictMode, "none": http.SameSiteNoneMode}[f.CookieSameSite]
	c.Cookies = &issuer.Cookies{Access: f.Cookie, Domain: f.CookieDomain, SameSite: site, Origins: f.CookieOrigin}
}

// protection of API nodes in the same process, whose issuer is http.
func (f *cookieFlags) protection() verifier.HTTPConfig {
	if !f.Cookies {
		return verifier.HTTPConfig{}
	}
	return verifier.HTTPConfig{Cookie: cmp.Or(f.Cookie, "quash"), Origins: f.CookieOrigin}
}
