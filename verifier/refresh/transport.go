// Package refresh is the client's half of revocation: an http.RoundTripper that attaches the access token, renews it
// once when an API says that it is not good any more, and knows the difference between "renew", "you are
// signed out" and "wait". It needs only the standard codes of RFC 6749, 6750 and 9110, so it works with
// any issuer and any API that send them. A Machine, which has no refresh token, asks for a new token by
// client_credentials in place of a refresh.
//
//	401 invalid_token                      one refresh, shared by all requests that wait, and one retry
//	    refresh 200                        both tokens stored, the request sent again; whatever comes back stands
//	    refresh 400 invalid_grant          ErrSignedOut, tokens dropped, no further refresh
//	    refresh 401, other 4xx             ErrClient: a configuration error, tokens kept
//	    refresh 5xx, 429, network          ErrUnavailable, tokens kept, no new try before Retry-After or a growing pause
//	401 without error, insufficient_user_authentication, 400, 403, 503    passed on as they are
package refresh

import (
	"errors"
	"io"
	"net/http"
)

// RoundTrip sends a request with the access token. Its errors besides those of Base are *Error (see errors.As),
// ErrSave, and the context's. A request that already has an Authorization header, or goes to an origin
// that is not in Config.Origins, is passed on untouched.
//
// A request with a body is sent again only if it has GetBody, as those made by http.NewRequest from bytes
// and strings do; otherwise the 401 is returned, and the next request carries the new token.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	origin := ""
	if req.URL != nil {
		origin = originOf(req.URL)
	}
	if !t.origins[origin] || len(req.Header["Authorization"]) > 0 {
		return t.c.Base.RoundTrip(req)
	}
	used, err := t.current(req.Context())
	if err != nil {
		closeBody(req)
		return nil, err
	}
	resp, err := t.send(req, req.Body, used)
	if err != nil || !refusedToken(resp) {
		return resp, err
	}
	next, err := t.afterRefusal(req.Context(), origin, used)
	if errors.Is(err, errPassOn) {
		return resp, nil
	}
	if err != nil {
		discard(resp)
		return nil, err
	}
	body, ok := again(req)
	if !ok {
		return resp, nil
	}
	discard(resp)
	resp, err = t.send(req, body, next)
	if err == nil && refusedToken(resp) {
		t.refusedFresh(origin, next)
	}
	return resp, err
}

// send sends a copy of req, since a RoundTripper must leave the original alone.
func (t *Transport) send(req *http.Request, body io.ReadCloser, with state) (*http.Response, error) {
	out := req.WithContext(req.Context())
	out.Header = req.Header.Clone()
	if out.Header == nil {
		out.Header = make(http.Header)
	}
	out.Header.Set("Authorization", "Bearer "+with.tokens.Access)
	out.Body = body
	resp, err := t.c.Base.RoundTrip(out)
	if resp != nil {
		resp.Request = req // the copy holds the token
	}
	return resp, err
}

// refusedToken reports whether the answer asks for a new access token and nothing else.
func refusedToken(resp *http.Response) bool {
	if resp.StatusCode != http.StatusUnauthorized {
		return false
	}
	refused := false
	for _, code := range bearerErrors(resp.Header) {
		switch code {
		case "insufficient_user_authentication": // RFC 9470: no refresh helps, the user must log in
			return false
		case "invalid_token":
			refused = true
		}
	}
	return refused
}

// again returns the body for a second sending.
func again(req *http.Request) (io.ReadCloser, bool) {
	if req.Body == nil || req.Body == http.NoBody {
		return req.Body, true
	}
	if req.GetBody == nil {
		return nil, false
	}
	body, err := req.GetBody()
	return body, err == nil
}

// discard empties a short body so that the connection can be used again.
func discard(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
