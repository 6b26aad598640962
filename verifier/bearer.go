package verifier

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// The ways in which a request can present its token wrongly. Each is ErrRequest.
var (
	errTwoHeaders = fmt.Errorf("two Authorization headers: %w", ErrRequest)
	errSyntax     = fmt.Errorf("the Bearer credentials are not one b64token: %w", ErrRequest)
	errTwoMethods = fmt.Errorf("the access token is sent in more than one way: %w", ErrRequest)
	errTwoCookies = fmt.Errorf("the token cookie is sent twice: %w", ErrRequest)
)

// BearerToken takes the access token out of a request (RFC 6750 section 2.1):
// exactly one Authorization header, scheme Bearer in any case, one b64token. If
// cookie is not empty, the cookie of that name is accepted in place of the header.
//
// It returns ErrMissing if there are no credentials of ours (no header, another
// scheme, no cookie), and ErrRequest if the request is broken: two Authorization
// headers, `Bearer` with nothing or with more than a token behind it, or a token
// sent in more than one way (RFC 6750 section 2).
//
// A token in the query string is never accepted; next to a header it is ErrRequest.
// The request's body is not read. So an access_token in a form body is only noticed
// if something in front has already parsed the form (r.PostForm).
func BearerToken(r *http.Request, cookie string) (string, error) {
	raw, _, err := credential(r, cookie)
	return raw, err
}

// credential is BearerToken that also says whether the token came from the cookie.
func credential(r *http.Request, cookie string) (raw string, fromCookie bool, err error) {
	lines := r.Header["Authorization"]
	if len(lines) > 1 {
		return "", false, errTwoHeaders
	}
	if len(lines) == 1 {
		if raw, err = parseBearer(lines[0]); err != nil {
			return "", false, err
		}
	}
	if cookie != "" {
		value, found, err := cookieValue(r.Header["Cookie"], cookie)
		switch {
		case err != nil:
			return "", false, err
		case !found:
		case raw != "":
			return "", false, errTwoMethods
		default:
			raw, fromCookie = value, true
		}
	}
	if raw == "" {
		return "", false, ErrMissing
	}
	if r.URL != nil && r.URL.RawQuery != "" && queryHasToken(r.URL.RawQuery) {
		return "", false, errTwoMethods
	}
	if r.PostForm != nil && r.PostForm.Has("access_token") {
		return "", false, errTwoMethods
	}
	return raw, fromCookie, nil
}

// parseBearer returns the token of one Authorization header, or "" if its scheme is not Bearer.
func parseBearer(line string) (string, error) {
	const scheme = "bearer"
	line = strings.Trim(line, " \t")
	if len(line) < len(scheme) || !strings.EqualFold(line[:len(scheme)], scheme) {
		return "", nil
	}
	rest := line[len(scheme):]
	if rest != "" && isTokenChar(rest[0]) {
		return "", nil // a longer scheme name that begins like ours
	}
	token := strings.TrimLeft(rest, " ")
	if len(token) == len(rest) || !isB64Token(token) {
		return "", errSyntax
	}
	return token, nil
}

// isB64Token reports whether s is a b64token of RFC 6750 section 2.1.
func isB64Token(s string) bool {
	s = strings.TrimRight(s, "=")
	if s == "" {
		return false
	}
	for i := range len(s) {
		if !b64Char[s[i]] {
			return false
		}
	}
	return true
}

// b64Char holds the characters of a b64token except the padding at its end.
var b64Char = charTable(alphaDigit + "-._~+/")

// tokenChar holds the characters of an RFC 9110 token: scheme and cookie names.
var tokenChar = charTable(alphaDigit + "!#$%&'*+-.^_`|~")

const alphaDigit = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

func charTable(chars string) (table [256]bool) {
	for i := range len(chars) {
		table[chars[i]] = true
	}
	return table
}

func isTokenChar(c byte) bool { return tokenChar[c] }

// cookieValue finds a cookie without building a list of all of them. A cookie that is there but
// empty counts as absent: that is how servers and browsers clear one.
func cookieValue(lines []string, name string) (value string, found bool, err error) {
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ";") {
			k, v, ok := strings.Cut(part, "=")
			if !ok || strings.Trim(k, " \t") != name {
				continue
			}
			v = strings.Trim(v, " \t")
			if len(v) > 1 && v[0] == '"' && v[len(v)-1] == '"' {
				v = v[1 : len(v)-1]
			}
			if v == "" {
				continue
			}
			if found {
				return "", false, errTwoCookies
			}
			if !isB64Token(v) {
				return "", false, errSyntax
			}
			value, found = v, true
		}
	}
	return value, found, nil
}

// queryHasToken reports whether a query string has a parameter access_token, in any spelling.
func queryHasToken(query string) bool {
	const name = "access_token"
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		key, _, _ := strings.Cut(pair, "=")
		if key == name {
			return true
		}
		if strings.IndexByte(key, '%') >= 0 {
			if plain, err := url.QueryUnescape(key); err == nil && plain == name {
				return true
			}
		}
	}
	return false
}
