package issuer

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// authorization is a valid request for a code (RFC 6749 §4.1.1, RFC 7636 §4.3, OpenID Connect Core §3.1.2.1).
type authorization struct {
	client    Client
	redirect  string
	state     string
	scope     []string // empty: all there is
	nonce     string
	challenge string
	hint      string // user name to begin with
}

// rejection is an error that the client is told, by redirecting to it.
type rejection struct {
	to                *authorization
	code, description string
}

func (r *rejection) Error() string { return r.code + ": " + r.description }

const (
	maxAuthorization = 8 << 10 // bytes of all parameters
	maxNonce         = 512
	maxScopes        = 50
)

// serveAuthorize shows the login page. There is no session of the browser with the issuer, so no request is ever granted
// without a password: a revocation cannot be undone by a cookie (see docs/login.md).
func (i *Issuer) serveAuthorize(w http.ResponseWriter, r *http.Request) error {
	values, err := authorizeValues(r)
	if err != nil {
		return err
	}
	q, err := i.readAuthorization(values)
	if err != nil {
		return err
	}
	return i.showLogin(w, r, q, q.hint, nil)
}

// authorizeValues takes the query of a GET or the form of a POST, not both (OpenID Connect Core §3.1.2.1).
func authorizeValues(r *http.Request) (url.Values, error) {
	text := r.URL.RawQuery
	if r.Method == http.MethodPost {
		if text != "" || !mediaType(r, "application/x-www-form-urlencoded") {
			return nil, badRequest("the parameters of a POST belong into a form body")
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, bodyError(err)
		}
		text = string(body)
	}
	if len(text) > maxAuthorization {
		return nil, badRequest("the request is longer than 8 KiB")
	}
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, badRequest("the parameters are malformed")
	}
	return values, nil
}

// readAuthorization looks at the client and the redirect URI first: as long as they are not known to belong together, nobody is
// redirected anywhere. Errors: *fault for the page, *rejection for the client.
func (i *Issuer) readAuthorization(values url.Values) (*authorization, error) {
	id, redirect := values["client_id"], values["redirect_uri"]
	if len(id) != 1 || len(redirect) != 1 {
		return nil, badRequest("client_id and redirect_uri are needed, each once")
	}
	c, ok := i.client(id[0])
	switch {
	case !ok:
		return nil, badRequest("the client_id is not registered")
	case !c.mayReturnTo(redirect[0]):
		return nil, badRequest("the redirect_uri is not one of those registered for this client_id, character by character")
	case c.Disabled || !c.may(GrantAuthorizationCode):
		return nil, badRequest("this application may not ask people to log in")
	}
	q := &authorization{client: c, redirect: redirect[0]}
	if s := values["state"]; len(s) == 1 {
		q.state = s[0]
	}
	code, description := q.read(values)
	if code != "" {
		return nil, &rejection{q, code, description}
	}
	return q, nil
}

// read returns what is wrong with the parameters. Unknown ones are ignored (RFC 6749 §3.1).
func (q *authorization) read(values url.Values) (code, description string) {
	get := func(name string) string { return values.Get(name) }
	for _, vs := range values {
		if len(vs) > 1 {
			return "invalid_request", "a parameter is repeated"
		}
	}
	switch {
	case values.Has("request"):
		return "request_not_supported", "request objects are not supported"
	case values.Has("request_uri"):
		return "request_uri_not_supported", "request objects are not supported"
	case values.Has("registration"):
		return "registration_not_supported", "clients are registered by the operator"
	case get("response_type") == "":
		return "invalid_request", "response_type is required"
	case get("response_type") != "code":
		return "unsupported_response_type", "the response_type must be code"
	case get("response_mode") != "" && get("response_mode") != "query":
		return "invalid_request", "the response_mode must be query"
	case get("code_challenge") == "":
		return "invalid_request", "code_challenge is required (RFC 7636)"
	case get("code_challenge_method") != "S256":
		return "invalid_request", "the code_challenge_method must be S256"
	case !challengeForm(get("code_challenge")):
		return "invalid_request", "the code_challenge is not a SHA-256 in base64url"
	case len(get("nonce")) > maxNonce:
		return "invalid_request", "the nonce is too long"
	}
	q.scope = strings.Fields(get("scope"))
	if len(q.scope) > maxScopes || slices.ContainsFunc(q.scope, func(s string) bool { return !scopeToken(s) }) {
		return "invalid_scope", "the scope is malformed"
	}
	if age := get("max_age"); age != "" { // every login is as fresh as can be
		if _, err := strconv.ParseUint(age, 10, 31); err != nil {
			return "invalid_request", "max_age must be a number of seconds"
		}
	}
	prompt := strings.Fields(get("prompt"))
	switch {
	case slices.Equal(prompt, []string{"none"}):
		return "login_required", "every authorization needs a login here"
	case slices.Contains(prompt, "none"):
		return "invalid_request", "the prompt none excludes others"
	}
	q.nonce, q.challenge = get("nonce"), get("code_challenge")
	if hint := get("login_hint"); nameProblem(hint) == "" {
		q.hint = hint
	}
	return "", ""
}

// values are what the login form carries; readAuthorization takes them again.
func (q *authorization) values() url.Values {
	v := url.Values{"client_id": {q.client.ID}, "redirect_uri": {q.redirect}, "response_type": {"code"},
		"code_challenge": {q.challenge}, "code_challenge_method": {"S256"}}
	for name, value := range map[string]string{"state": q.state, "scope": strings.Join(q.scope, " "), "nonce": q.nonce} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v
}

// answerTo is the redirect back: parameters, the state as it came, and who answers (RFC 9207).
func (i *Issuer) answerTo(q *authorization, pairs ...string) string {
	v := url.Values{"iss": {i.cfg.Issuer}}
	if q.state != "" {
		v.Set("state", q.state)
	}
	for n := 0; n < len(pairs); n += 2 {
		v.Set(pairs[n], pairs[n+1])
	}
	return redirection(q.redirect, v)
}

// OpenID Connect's scopes are not the user's to have: who is asked for the code flow tells who she is.
const (
	scopeOpenID  = "openid"
	scopeProfile = "profile"
)

func identityScope(s string) bool { return s == scopeOpenID || s == scopeProfile }

// granted are those of the asked scopes that the user and the client have.
func (q *authorization) granted(u User) []string {
	has := q.client.grant(u.Scopes)
	if len(q.scope) == 0 {
		return has
	}
	var out []string
	for _, s := range q.scope {
		if (identityScope(s) || slices.Contains(has, s)) && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
