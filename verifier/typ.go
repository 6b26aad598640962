package verifier

import "github.com/quash-auth/quash/internal/jws"

// onceType is the typ of one-time tokens. It is not at+jwt, so that verifiers that know nothing of them refuse them instead of
// accepting them again and again (RFC 8725 section 3.11).
const onceType = "once+jwt"

// accessType reports whether typ is that of an access token (RFC 9068 section 2.1), or of a one-time token. A media type is compared
// without case, and "application/" may be left out (RFC 7515 section 4.1.9).
func accessType(h *jws.Header, p Profile, once bool) bool {
	if !h.HasTyp {
		return p == Relaxed && !once
	}
	typ := h.Typ
	if prefix := "application/"; len(typ) > len(prefix) && foldASCII(typ[:len(prefix)], prefix) {
		typ = typ[len(prefix):]
	}
	if once {
		return foldASCII(typ, onceType)
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
