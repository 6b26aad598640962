package verifier

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// ErrCrossOrigin means: the token came in a cookie, the method changes something, and the request
// did not prove that it comes from our own pages. Answered with 403; the token was not looked at.
var ErrCrossOrigin = errors.New("verifier: cookie request without proof of the same origin")

// retryAfter is what a 503 asks the client to wait: a few beacons. Clients add their own jitter.
const retryAfter = "5"

// The descriptions a bearer may see. Nothing else is ever written into a challenge:
// not the reason of a revocation, not a part of the token (RFC 6750 section 3).
const (
	descRequest   = "The request must carry exactly one access token in one Authorization header"
	descMalformed = "malformed"
	descSignature = "signature"
	descExpired   = "The access token expired"
	descRevoked   = "The access token was revoked"
	descUsed      = "The access token was already used"
	descOnce      = "A one-time token is good where one is asked for, and nowhere else"
	descInvalid   = "The access token is invalid"
	descScope     = "The access token does not have the scope this resource needs"
	descMissing   = "An access token is needed"
	descOrigin    = "The request does not come from the same origin"
	descStale     = "Tokens cannot be judged at the moment; the token may still be good"
	descBroken    = "The server cannot check tokens because of a mistake of its own"
)

// row is one line of the table.
type row struct {
	status int
	code   string // error code of RFC 6750 section 3.1; empty: none
	detail string // of the problem body, and the error_description where there is one
	scheme bool   // has a challenge
}

// rowFor is the one table from errors to answers (standards: RFC 6750 section 3, RFC 9068 section 4,
// RFC 9110 sections 15.5.2 and 15.5.4). The first line that fits decides. What is our own fault comes
// first and is never a 401: clients would refresh or log out because of our outage.
func rowFor(err error) row {
	is := func(target error) bool { return errors.Is(err, target) }
	switch {
	case err == nil || is(ErrConfig):
		return row{status: http.StatusInternalServerError, detail: descBroken}
	case unjudged(err):
		return row{status: http.StatusServiceUnavailable, detail: descStale}
	case is(ErrMissing):
		return row{status: http.StatusUnauthorized, detail: descMissing, scheme: true}
	case is(ErrRequest):
		return row{status: http.StatusBadRequest, code: "invalid_request", detail: descRequest, scheme: true}
	case is(ErrScope):
		return row{status: http.StatusForbidden, code: "insufficient_scope", detail: descScope, scheme: true}
	case is(ErrCrossOrigin):
		return row{status: http.StatusForbidden, detail: descOrigin}
	case is(ErrRevoked):
		return invalidToken(descRevoked)
	case is(ErrUsed):
		return invalidToken(descUsed)
	case is(ErrOnce):
		return invalidToken(descOnce)
	case is(ErrExpired):
		return invalidToken(descExpired)
	case is(ErrMalformed):
		return invalidToken(descMalformed)
	case is(ErrAlgorithm), is(ErrSignature), is(ErrNoKey):
		return invalidToken(descSignature)
	case is(ErrInvalid):
		return invalidToken(descInvalid)
	default:
		return row{status: http.StatusInternalServerError, detail: descBroken}
	}
}

func invalidToken(description string) row {
	return row{status: http.StatusUnauthorized, code: "invalid_token", detail: description, scheme: true}
}

// answer is a row made ready for one HTTPConfig.
type answer struct {
	status    int
	challenge string
	body      []byte
}

func (c HTTPConfig) answer(err error) answer {
	line := rowFor(err)
	a := answer{status: line.status, body: problem(line.status, line.detail)}
	if line.scheme {
		a.challenge = c.challenge(line)
	}
	return a
}

// challenge builds the value of WWW-Authenticate. Config values that could break out of their quotes
// are left out here as well as refused by Validate.
func (c HTTPConfig) challenge(line row) string {
	var b strings.Builder
	realm := c.Realm
	if realm == "" || !quotable(realm) {
		realm = defaultRealm
	}
	b.WriteString(`Bearer realm="` + realm + `"`)
	switch line.code {
	case "":
		if c.ResourceMetadata != "" && quotable(c.ResourceMetadata) {
			b.WriteString(`, resource_metadata="` + c.ResourceMetadata + `"`)
		}
	case "insufficient_scope":
		b.WriteString(`, error="insufficient_scope"`)
		if scope := strings.Join(c.Scope, " "); scope != "" && quotable(scope) {
			b.WriteString(`, scope="` + scope + `"`)
		}
	default:
		b.WriteString(`, error="` + line.code + `", error_description="` + line.detail + `"`)
	}
	return b.String()
}

// quotable reports whether s holds only what RFC 6750 section 3 allows between quotes.
func quotable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// problem is the body: RFC 9457, with no type of our own, so title is the status phrase.
func problem(status int, detail string) []byte {
	body, err := json.Marshal(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{"about:blank", http.StatusText(status), status, detail})
	if err != nil {
		return nil // four plain fields always marshal
	}
	return append(body, '\n')
}

func (a answer) write(w http.ResponseWriter) {
	h := w.Header()
	// What an outer handler prepared for a success does not fit any more.
	for _, name := range []string{"Content-Encoding", "Etag", "Last-Modified"} {
		h.Del(name)
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	h.Set("X-Content-Type-Options", "nosniff")
	if a.challenge != "" {
		h.Set("WWW-Authenticate", a.challenge)
	}
	if a.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", retryAfter)
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // the client has gone: nobody is left to tell
}

// WriteError answers with what err stands for. It is what the middleware uses; handlers use it
// for their own checks of scope, for example WriteError(w, verifier.ErrScope, HTTPConfig{Scope: need}).
//
//	ErrMissing                          401, no error code
//	ErrRequest                          400 invalid_request
//	ErrInvalid and all kinds of it      401 invalid_token
//	ErrScope                            403 insufficient_scope, naming c.Scope
//	ErrCrossOrigin                      403
//	ErrStale, keys we could not fetch   503 with Retry-After
//	ErrConfig, anything else            500
//
// Every answer has Cache-Control: no-store and a body of type application/problem+json (RFC 9457).
// The bearer is never told why a token was revoked.
func WriteError(w http.ResponseWriter, err error, c HTTPConfig) { c.answer(err).write(w) }
