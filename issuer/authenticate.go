package issuer

import (
	"net/http"
	"net/url"
)

var errInvalidClient = &fault{status: http.StatusUnauthorized, code: "invalid_client", description: "there is no such client, or it is disabled, or its secret is wrong",
	challenge: `Basic realm="quash"`}

// errGrantNotAllowed is RFC 6749 §5.2's "not authorized to use this authorization grant type".
var errGrantNotAllowed = &fault{status: http.StatusBadRequest, code: "unauthorized_client", description: "the client may not use this grant: the registry of clients lists its grant_types"}

// clientForm reads a form, and finds the client that it is from as authenticate does.
func (i *Issuer) clientForm(r *http.Request) (map[string]string, *Client, error) {
	form, err := readForm(r)
	if err != nil {
		return nil, nil, err
	}
	client, err := i.authenticate(r, form["client_id"], form["client_secret"])
	return form, client, err
}

// authenticate finds the client of a request (RFC 6749 §2.3): by HTTP Basic, by id and secret in the body, or by its id alone
// if it is public; never by two at once. nil: the request names none.
func (i *Issuer) authenticate(r *http.Request, id, secret string) (*Client, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) > 1 {
		return nil, badRequest("more than one Authorization header")
	}
	if len(headers) == 1 {
		if secret != "" {
			return nil, badRequest("two ways of client authentication in one request")
		}
		user, pass, ok := r.BasicAuth()
		if !ok {
			return nil, errInvalidClient
		}
		user, err1 := url.QueryUnescape(user) // §2.3.1: form-urlencoded before base64
		pass, err2 := url.QueryUnescape(pass)
		if err1 != nil || err2 != nil {
			return nil, errInvalidClient
		}
		if id != "" && id != user {
			return nil, badRequest("two different client identifiers in one request")
		}
		id, secret = user, pass
	}
	if id == "" && secret == "" && len(headers) == 0 {
		return nil, nil
	}
	c, ok := i.usable(id)
	if !ok || c.Public && secret != "" || !c.Public && !c.secretMatches(secret) {
		return nil, errInvalidClient
	}
	return &c, nil
}
