package issuer

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/quash-auth/quash/events"
)

// presented is what a browser sent along by itself. Nothing in it counts before the request is known to come from a page that may
// act (see ownPage).
type presented struct{ access, refresh string }

func (p presented) any() bool { return p.access != "" || p.refresh != "" }

// presented reads our cookies. Two of one name are refused: one of them was planted by a host beside ours, and nobody can say
// which. With cookies off there are none.
func (i *Issuer) presented(r *http.Request) (p presented, err error) {
	c := i.cfg.Cookies
	if c == nil {
		return p, nil
	}
	for name, dst := range map[string]*string{c.Access: &p.access, c.Refresh: &p.refresh} {
		for _, k := range r.CookiesNamed(name) {
			if k.Value == "" {
				continue // as browsers and servers clear one
			}
			if *dst != "" {
				return presented{}, badRequest("the cookie " + name + " is sent twice; clear the cookies of this site and of its parent domains and log in again")
			}
			*dst = k.Value
		}
	}
	if p.any() && len(r.Header["Authorization"]) > 0 {
		return presented{}, badRequest("a token in the Authorization header and one in a cookie; send one of them")
	}
	return p, nil
}

var (
	errOtherPage = &fault{status: http.StatusForbidden, code: "invalid_request",
		description: "cookies are accepted from the issuer's own pages only: neither Sec-Fetch-Site nor Origin says that this request comes from one"}
	errNoCookies = badRequest("this issuer gives no tokens in cookies")
)

// ownPage reports whether a request that changes something may be done by cookie: the browser says that it comes from the issuer's
// own origin or one that is permitted. Every browser that sends SameSite cookies says where a POST comes from, so a
// request that says nothing is refused.
func (i *Issuer) ownPage(r *http.Request) bool {
	sites, origins := r.Header["Sec-Fetch-Site"], r.Header["Origin"]
	if len(sites) > 1 || len(origins) > 1 {
		return false
	}
	if len(sites) == 1 && sites[0] == "same-origin" {
		return true
	}
	if len(origins) == 0 {
		return false
	}
	if slices.Contains(i.cfg.Cookies.Origins, origins[0]) {
		return true
	}
	return (len(sites) == 0 || sites[0] == "") && origins[0] == originOf(i.cfg.Issuer)
}

// byCookie reads the cookies of a request that gets tokens or ends sessions, and whether it wants tokens in cookies.
func (i *Issuer) byCookie(r *http.Request, asked bool) (presented, error) {
	if asked && i.cfg.Cookies == nil {
		return presented{}, errNoCookies
	}
	p, err := i.presented(r)
	if err != nil {
		return presented{}, err
	}
	if asked && len(r.Header["Authorization"]) > 0 {
		return presented{}, badRequest("cookies are for public clients in browsers, which send no Authorization header")
	}
	if (asked || p.any()) && !i.ownPage(r) {
		return presented{}, errOtherPage
	}
	return p, nil
}

// possessed are the sessions of which the browser holds a token that we made, be it an old one.
func (i *Issuer) possessed(ctx context.Context, p presented) ([]string, error) {
	var sids []string
	if sid, secret, ok := parseRefreshToken(p.refresh); ok {
		s, err := i.session(ctx, sid)
		if err != nil {
			return nil, err
		}
		if s != nil && s.madeHere(secret) {
			sids = append(sids, sid)
		}
	}
	if p.access != "" {
		c, err := i.verify(p.access)
		if errors.Is(err, ErrUnavailable) {
			return nil, err
		}
		if err == nil && c.Session != "" && !slices.Contains(sids, c.Session) {
			sids = append(sids, c.Session)
		}
	}
	return sids, nil
}

// replace ends the sessions that a browser had before a login, in whose name they ever were.
func (i *Issuer) replace(ctx context.Context, sids []string, sub string) error {
	for _, sid := range sids {
		if _, err := i.Revoke(ctx, events.Revocation{Scope: events.Session, Key: sid, By: "user", Actor: sub, Reason: "replaced by a new login"}); err != nil {
			return err
		}
	}
	return nil
}

// serveRefresh takes the refresh token from the body, or from the cookie if there is none.
func (i *Issuer) serveRefresh(w http.ResponseWriter, r *http.Request, client *Client, form map[string]string) error {
	asked, err := boolean(form, "cookies")
	if err != nil {
		return err
	}
	raw, next := form["refresh_token"], i.rotate
	var p presented
	if raw == "" || asked {
		if p, err = i.byCookie(r, asked); err != nil {
			return err
		}
	}
	switch {
	case raw != "" && p.refresh != "":
		return badRequest("a refresh token in the body and one in a cookie; send one of them")
	case raw == "" && p.refresh == "":
		return badRequest("refresh_token is required")
	case raw == "":
		raw, next = p.refresh, i.renew
	}
	g, err := i.refresh(r.Context(), raw, client, form["scope"], next)
	if errors.Is(err, ErrGrant) && p.refresh != "" {
		i.cfg.Cookies.clear(w)
	}
	if err != nil {
		return err
	}
	g.cookies = asked || p.refresh != ""
	return i.tokens(w, g)
}

// boolean is a parameter that is true, false or absent.
func boolean(form map[string]string, name string) (bool, error) {
	switch form[name] {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	}
	return false, badRequest(name + ": must be true or false")
}

// forget takes the cookies away from a browser that ends more than one session by them.
func (i *Issuer) forget(w http.ResponseWriter, r *http.Request) {
	if i.cfg.Cookies != nil && len(r.Header["Authorization"]) == 0 {
		i.cfg.Cookies.clear(w)
	}
}

// logoutByCookie ends what the browser has, and takes its cookies away, dead ones as well.
func (i *Issuer) logoutByCookie(w http.ResponseWriter, r *http.Request, p presented) error {
	sids, err := i.possessed(r.Context(), p)
	if err != nil {
		return err
	}
	var ack events.Ack
	for _, sid := range sids {
		s, err := i.session(r.Context(), sid)
		if err != nil {
			return err
		}
		actor := ""
		if s != nil {
			actor = s.Sub
		}
		if ack, err = i.Revoke(r.Context(), events.Revocation{Scope: events.Session, Key: sid, By: "user", Actor: actor, Reason: "logout"}); err != nil {
			return err
		}
	}
	i.cfg.Cookies.clear(w)
	i.revokedAnswer(w, ack, "")
	return nil
}
