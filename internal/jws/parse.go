package jws

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/quash-auth/quash/internal/strictjson"
)

// Parts is a compact JWS (RFC 7515 section 3.1) taken apart. Nothing of it is verified yet.
type Parts struct {
	Header    Header
	Payload   []byte // not empty
	Signed    string // what the signature covers
	Signature []byte
}

// Header is what is read of a JOSE header. Hints where to find a key (jku, jwk, x5u, x5c) are not among it.
type Header struct {
	Alg        string // not empty
	KeyID, Typ string
	HasTyp     bool
}

var (
	errSegments = errors.New("not three segments")
	errBase64   = errors.New("not strict base64url")
	errJSON     = errors.New("not a strict JSON object")
	errCritical = errors.New("crit, b64, zip and enc are not understood")
	errHeader   = errors.New("alg, kid and typ must be strings, alg is required")
	errLongKid  = fmt.Errorf("the kid is longer than %d bytes", MaxKeyID)
)

// Split takes a token apart and reads its header. The caller has checked its length.
func Split(raw string) (p Parts, err error) {
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
	if p.Header, err = ParseHeader(head); err != nil {
		return p, err
	}
	if p.Payload, err = decode64(raw[first+1 : last]); err != nil {
		return p, err
	}
	if p.Signature, err = decode64(raw[last+1:]); err != nil {
		return p, err
	}
	p.Signed = raw[:last]
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

// ParseHeader reads a JOSE header: a strict JSON object (RFC 7515 section 4).
func ParseHeader(doc []byte) (h Header, err error) {
	var buf [8]strictjson.Member
	members, err := strictjson.Members(doc, buf[:0])
	if err != nil {
		return h, fmt.Errorf("%w: %w", errJSON, err)
	}
	for _, m := range members {
		switch string(m.Name) {
		case "alg":
			h.Alg, err = strictjson.String(m.Value)
		case "kid":
			h.KeyID, err = strictjson.String(m.Value)
		case "typ":
			h.Typ, err = strictjson.String(m.Value)
			h.HasTyp = true
		case "crit", "b64", "zip", "enc":
			return h, errCritical
		}
		if err != nil {
			return h, errHeader
		}
	}
	if h.Alg == "" {
		return h, errHeader
	}
	if len(h.KeyID) > MaxKeyID {
		return h, errLongKid
	}
	return h, nil
}
