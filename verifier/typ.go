package verifier

import "github.com/quash-auth/quash/internal/jws"

// accessType reports whether typ is that of an access token (RFC 9068 section 2.1). A media type is compared without
// case, and "application/" may be left out (RFC 7515 section 4.1.9).
func accessType(h *jws.Header, p Profile) bool {
	if !h.HasTyp {
		return p == Relaxed
	}
	typ := h.Typ
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
