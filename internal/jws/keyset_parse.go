package jws

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/quash-auth/quash/internal/strictjson"
)

// MaxKeySetBytes is the greatest length of a JWK Set.
const MaxKeySetBytes = 1 << 20

const maxNotes = 8 // of one set; the rest is only counted

// ParseKeySet reads a JWK Set (RFC 7517 section 5). A key it cannot use is skipped and noted, as that section asks for. A
// document that is not a JWK Set, or whose kids are ambiguous, is refused as a whole.
func ParseKeySet(doc []byte, allowed AlgSet) (*KeySet, error) {
	if len(doc) > MaxKeySetBytes {
		return nil, fmt.Errorf("read the JWK Set: longer than %d bytes", MaxKeySetBytes)
	}
	var list []byte
	err := strictjson.Object(doc, func(name string, value []byte) error {
		if name == "keys" {
			list = value
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the JWK Set: %w", err)
	}
	if list == nil {
		return nil, errors.New("read the JWK Set: it has no member \"keys\"")
	}
	set := NewKeySet()
	number := 0
	err = strictjson.Elements(list, func(element []byte) error {
		number++
		k, warning, err := parseKey(element, allowed)
		if warning != "" {
			set.note("key %d: %s", number, warning)
		}
		if err != nil {
			set.Skipped++
			set.note("key %d was skipped: %v", number, err)
			return nil
		}
		return set.Add(k)
	})
	if err != nil {
		return nil, fmt.Errorf("read the JWK Set: %w", err)
	}
	return set, nil
}

func (s *KeySet) note(format string, args ...any) {
	if len(s.Notes) < maxNotes {
		s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
	}
}

// jwk is what decides over a key before its numbers are looked at.
type jwk struct {
	Kty, Kid, Use, Alg string
	ops                []string
	hasOps, private    bool
	public             map[string]json.RawMessage
}

// publicMembers are what is handed on: neither private numbers nor certificates are ever looked at.
var publicMembers = []string{"kty", "crv", "x", "y", "n", "e"}

// privateMembers hold secrets (RFC 7518 section 6).
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth"}

func parseKey(raw []byte, allowed AlgSet) (k *Key, warning string, err error) {
	j := jwk{public: make(map[string]json.RawMessage, len(publicMembers))}
	if err := strictjson.Object(raw, j.member); err != nil {
		return nil, "", err
	}
	if j.private {
		warning = "it was published with its private half: replace it"
	}
	if err := j.usable(); err != nil {
		return nil, warning, err
	}
	doc, err := json.Marshal(j.public)
	if err != nil {
		return nil, warning, fmt.Errorf("read the key: %w", err)
	}
	var parsed jose.JSONWebKey
	if err := parsed.UnmarshalJSON(doc); err != nil {
		return nil, warning, fmt.Errorf("read the key: %w", err)
	}
	k, err = NewKey(j.Kid, j.Alg, parsed.Key, allowed)
	return k, warning, err
}

func (j *jwk) member(name string, value []byte) (err error) {
	switch name {
	case "kty":
		j.Kty, err = strictjson.String(value)
	case "kid":
		j.Kid, err = strictjson.String(value)
	case "use":
		j.Use, err = strictjson.String(value)
	case "alg":
		j.Alg, err = strictjson.String(value)
	case "key_ops":
		j.hasOps = true
		j.ops, err = strictjson.Strings(value)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if slices.Contains(publicMembers, name) {
		j.public[name] = value
	}
	if slices.Contains(privateMembers, name) {
		j.private = true
	}
	return nil
}

func (j *jwk) usable() error {
	switch j.Kty {
	case "EC", "RSA", "OKP":
	case "":
		return errors.New("kty is missing")
	case "oct":
		return errors.New("a symmetric key in a JWK Set is never used")
	default:
		return fmt.Errorf("kty %q is not known", strings.ToValidUTF8(j.Kty, "?"))
	}
	if j.Use != "" && j.Use != "sig" {
		return errors.New("its use is not sig")
	}
	if j.hasOps && !slices.Contains(j.ops, "verify") {
		return errors.New("its key_ops do not allow verify")
	}
	return nil
}
