package verifier

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Middleware protects handlers: it lets a request through only with a token that Verify accepts and that has
// the scope of c, and puts the token into the request's context (FromContext). Everything else is answered
// as WriteError says. It is safe for any number of handlers and requests at once.
//
// A CORS preflight (OPTIONS with Origin and Access-Control-Request-Method) carries no token by its nature, and none is
// demanded. It goes to HTTPConfig.Preflight and never to the handler, which may not look at the method.
//
// Answers of the handlers are not altered. Handlers should send Cache-Control: private or no-store, or a cache
// in front goes on to serve them to somebody whose token has been revoked.
//
// A request is judged once, when it arrives. Work that lasts (SSE, WebSocket) also needs [Verifier.Watch].
//
// A config that Validate refuses lets nothing through: every request is answered with 500.
func (v *Verifier) Middleware(c HTTPConfig) func(http.Handler) http.Handler {
	g := newGuard(v, c)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if g.broken == nil && isPreflight(r) {
				g.preflight(w, r)
				return
			}
			token, err := g.admit(r)
			if err != nil {
				g.refuse(w, r, err)
				return
			}
			next.ServeHTTP(w, r.WithContext(NewContext(r.Context(), token)))
		})
	}
}

// guard is one HTTPConfig bound to one verifier, with its answers made ready.
type guard struct {
	v       *Verifier
	c       HTTPConfig
	rule    FreshnessRule
	broken  error
	answers map[row]answer
}

func newGuard(v *Verifier, c HTTPConfig) *guard {
	g := &guard{v: v, c: c, broken: c.Validate(), answers: make(map[row]answer)}
	g.c.Scope, g.c.Origins = slices.Clone(c.Scope), slices.Clone(c.Origins)
	if v == nil {
		g.broken = fmt.Errorf("the middleware has no verifier: %w", ErrConfig)
	}
	if v != nil && c.OneTime && v.redeemer == nil {
		g.broken = errNoRedeems
	}
	g.rule = FreshnessRule{MaxStaleness: c.MaxStaleness, OnStale: c.OnStale, Set: c.MaxStaleness > 0}
	for _, err := range []error{ErrConfig, ErrStale, ErrMissing, ErrRequest, ErrScope, ErrCrossOrigin,
		ErrRevoked, ErrUsed, ErrExpired, ErrMalformed, ErrSignature, ErrInvalid} {
		g.answers[rowFor(err)] = g.c.answer(err)
	}
	return g
}

// admit returns the token of a request that may pass.
func (g *guard) admit(r *http.Request) (*Token, error) {
	if g.broken != nil {
		return nil, g.broken
	}
	raw, fromCookie, err := credential(r, g.c.Cookie)
	if err != nil {
		return nil, err
	}
	if fromCookie && !sameOrigin(r) && !g.permits(r) {
		return nil, ErrCrossOrigin
	}
	rule, err := g.rule.resolve(g.v.rule)
	if err != nil {
		return nil, err
	}
	token, err := g.v.verify(r.Context(), raw, rule, g.c.OneTime)
	if err != nil {
		return nil, err
	}
	for _, s := range g.c.Scope {
		if !token.HasScope(s) {
			return nil, ErrScope
		}
	}
	if g.c.OneTime {
		if err := g.v.spend(r.Context(), token); err != nil {
			return nil, err
		}
	}
	return token, nil
}

func (g *guard) preflight(w http.ResponseWriter, r *http.Request) {
	if g.c.Preflight != nil {
		g.c.Preflight.ServeHTTP(w, r)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (g *guard) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if g.c.OnError != nil {
		g.c.OnError(r, err)
	}
	if r.Header.Get("Origin") != "" {
		// Scripts of another origin see the challenge only if it is listed (RFC 9449 section 7.1 says so too).
		w.Header().Add("Access-Control-Expose-Headers", "WWW-Authenticate")
	}
	g.answerTo(err).write(w)
}

func (g *guard) answerTo(err error) answer {
	if a, ok := g.answers[rowFor(err)]; ok {
		return a
	}
	return g.c.answer(err)
}

// isPreflight reports whether r is a CORS preflight request (Fetch standard).
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions &&
		r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// sameOrigin reports whether a request with a cookie may be acted upon. Stricter than http.CrossOriginProtection:
// an unsafe request that proves nothing is refused, since every browser that sends cookies also sends a proof.
func sameOrigin(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		if len(r.Header["Upgrade"]) == 0 { // a WebSocket begins with GET, and any page may open one
			return true
		}
	}
	sites, origins := r.Header["Sec-Fetch-Site"], r.Header["Origin"]
	if len(sites) > 1 || len(origins) > 1 {
		return false
	}
	if len(sites) == 1 && sites[0] != "" {
		return sites[0] == "same-origin"
	}
	if len(origins) == 0 {
		return false
	}
	u, err := url.Parse(origins[0])
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// permits reports whether a page of another origin, one of the list, sent the request.
func (g *guard) permits(r *http.Request) bool {
	origins := r.Header["Origin"]
	return len(origins) == 1 && len(r.Header["Sec-Fetch-Site"]) <= 1 && slices.Contains(g.c.Origins, origins[0])
}

// unjudged reports whether the token could not be judged for a reason that lies with us: the view is too old, the keys
// could not be fetched (also ErrStale), or there was no time left.
func unjudged(err error) bool {
	return errors.Is(err, ErrStale) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
