package verifier

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/quash-auth/quash/internal/strictjson"
)

// parts is a compact JWS (RFC 7515 section 3.1) taken apart. Nothing of it is verified yet.
type parts struct {
	header    header
	payload   []byte // claims, JSON
	signed    string // what the signature covers
	signature []byte
}

// header is what is read of a JOSE header. Hints where to find a key (jku, jwk, x5u, x5c) are not among it.
type header struct {
	alg      string
	kid, typ string
	hasTyp   bool
}

var (
	errTooLong  = fmt.Errorf("%w: longer than MaxTokenBytes", ErrMalformed)
	errSegments = fmt.Errorf("%w: not three segments", ErrMalformed)
	errBase64   = fmt.Errorf("%w: not strict base64url", ErrMalformed)
	errJSON     = fmt.Errorf("%w: not a strict JSON object", ErrMalformed)
	errCritical = fmt.Errorf("%w: crit, b64, zip and enc are not understood", ErrMalformed)
	errHeader   = fmt.Errorf("%w: alg, kid and typ must be strings, alg is required", ErrMalformed)
	errLongKid  = fmt.Errorf("%w: the kid is longer than %d bytes", ErrMalformed, maxName)
)

// split takes a token apart and reads its header. The caller has checked its length.
func split(raw string) (p parts, err error) {
	first := strings.IndexByte(raw, '.')
	last := strings.LastIndexByte(raw, '.')
	if first <= 0 || last == first || last == first+1 || strings.IndexByte(raw[first+1:last], '.') >= 0 {
		return p, errSegments
	}
	if strings.IndexByte(raw, '\n') >= 0 || strings.IndexByte(raw, '\r') >= 0 {
		return p, errBase64 // encoding/base64 skips them, strict or not
	}
	head, err := decode64(raw[:first])
	if err != nil {
		return p, err
	}
	if p.header, err = parseHeader(head); err != nil {
		return p, err
	}
	if p.payload, err = decode64(raw[first+1 : last]); err != nil {
		return p, err
	}
	if p.signature, err = decode64(raw[last+1:]); err != nil {
		return p, err
	}
	p.signed = raw[:last]
	return p, nil
}

// strict64 refuses padding and bits that belong to no byte: a segment has exactly one spelling.
var strict64 = base64.RawURLEncoding.Strict()

func decode64(s string) ([]byte, error) {
	b, err := strict64.DecodeString(s)
	if err != nil {
		return nil, errBase64
	}
	return b, nil
}

func parseHeader(doc []byte) (h header, err error) {
	var buf [8]strictjson.Member
	members, err := strictjson.Members(doc, buf[:0])
	if err != nil {
		return h, fmt.Errorf("%w: %w", errJSON, err)
	}
	for _, m := range members {
		switch string(m.Name) {
		case "alg":
			h.alg, err = strictjson.String(m.Value)
		case "kid":
			h.kid, err = strictjson.String(m.Value)
		case "typ":
			h.typ, err = strictjson.String(m.Value)
			h.hasTyp = true
		case "crit", "b64", "zip", "enc":
			return h, errCritical
		}
		if err != nil {
			return h, errHeader
		}
	}
	if h.alg == "" {
		return h, errHeader
	}
	if len(h.kid) > maxName {
		return h, errLongKid
	}
	return h, nil
}

// accessType reports whether typ is that of an access token (RFC 9068 section 2.1). A media type is compared without
// case, and "application/" may be left out (RFC 7515 section 4.1.9).
func (h *header) accessType(p Profile) bool {
	if !h.hasTyp {
		return p == Relaxed
	}
	typ := h.typ
	if prefix := "application/"; len(typ) > len(prefix) && foldASCII(typ[:len(prefix)], prefix) {
		typ = typ[len(prefix):]
	}
	return foldASCII(typ, "at+jwt") || p == Relaxed && foldASCII(typ, "jwt")
}

// foldASCII compares s with lower, which is lower case, folding ASCII letters only.
func foldASCII(s, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
