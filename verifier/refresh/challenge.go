package refresh

import (
	"net/http"
	"strings"
)

// Challenge is one challenge of a WWW-Authenticate header (RFC 9110 section 11.6.1).
type Challenge struct {
	Scheme  string            // as sent; compare without regard to case
	Token68 string            // for schemes that use it, such as Negotiate
	Params  map[string]string // names in lower case, values without quotes; of a repeated name the first
}

// maxChallenges bounds what one answer can make us build.
const maxChallenges = 32

// Challenges reads the challenges of an answer: any number on a line, any number of lines. What does not
// follow the grammar is skipped; it never fails. Use it to see what a 401 or 403 asks for, for example the
// scope of insufficient_scope or the max_age of insufficient_user_authentication (RFC 9470).
func Challenges(h http.Header) []Challenge {
	var list []Challenge
	for _, line := range h.Values("WWW-Authenticate") {
		list = parseLine(list, line)
	}
	return list
}

// bearerErrors returns the error codes of the Bearer challenges.
func bearerErrors(h http.Header) []string {
	var codes []string
	for _, c := range Challenges(h) {
		if code := c.Params["error"]; code != "" && strings.EqualFold(c.Scheme, "Bearer") {
			codes = append(codes, code)
		}
	}
	return codes
}

// parseLine adds the challenges of one line. A name followed by "=" is a parameter of the challenge
// before it; any other name begins a challenge. Parameters without a comma between them are common, and read.
func parseLine(list []Challenge, line string) []Challenge {
	s := scanner{text: line}
	first := len(list)
	for comma := true; ; {
		comma = s.separator() || comma
		if s.done() {
			return list
		}
		name := s.token()
		value, assigned := "", false
		if name != "" {
			value, assigned = s.assignment()
		}
		switch {
		case assigned && len(list) > first:
			list[len(list)-1].set(name, value)
		case assigned:
			// a parameter of nothing
		case name != "" && comma && len(list) < maxChallenges:
			list = append(list, Challenge{Scheme: name, Token68: s.token68()})
		default:
			s.toComma()
		}
		comma = false
	}
}

func (c *Challenge) set(name, value string) {
	name = strings.ToLower(name)
	if _, repeated := c.Params[name]; repeated {
		return
	}
	if c.Params == nil {
		c.Params = make(map[string]string)
	}
	c.Params[name] = value
}

// scanner walks over one header line.
type scanner struct {
	text string
	at   int
}

func (s *scanner) done() bool { return s.at >= len(s.text) }

func (s *scanner) skip(chars string) {
	for !s.done() && strings.IndexByte(chars, s.text[s.at]) >= 0 {
		s.at++
	}
}

// separator skips blanks and commas, and reports whether there was a comma.
func (s *scanner) separator() bool {
	from := s.at
	s.skip(" \t,")
	return strings.IndexByte(s.text[from:s.at], ',') >= 0
}

// token reads an RFC 9110 token; empty if there is none here.
func (s *scanner) token() string {
	from := s.at
	for !s.done() && isTokenChar(s.text[s.at]) {
		s.at++
	}
	return s.text[from:s.at]
}

// assignment reads "= value" after a name, with the optional blanks of BWS. Without one it moves nothing.
func (s *scanner) assignment() (string, bool) {
	from := s.at
	s.skip(" \t")
	if s.done() || s.text[s.at] != '=' {
		s.at = from
		return "", false
	}
	s.at++
	s.skip(" \t")
	if s.done() || s.text[s.at] != '"' {
		return s.token(), true
	}
	return s.quoted(), true
}

// quoted reads a quoted-string; one that is not closed ends with the line.
func (s *scanner) quoted() string {
	var b strings.Builder
	for s.at++; !s.done(); s.at++ {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return b.String()
		case c == '\\' && s.at+1 < len(s.text):
			s.at++
			b.WriteByte(s.text[s.at])
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// token68 reads the token68 after a scheme. Only if it fills the rest of its list element is it one: otherwise it
// is the name of a parameter, and nothing is moved.
func (s *scanner) token68() string {
	from := s.at
	s.skip(" \t")
	start := s.at
	for !s.done() && (isTokenChar(s.text[s.at]) || s.text[s.at] == '/') {
		s.at++
	}
	for !s.done() && s.text[s.at] == '=' {
		s.at++
	}
	text := s.text[start:s.at]
	s.skip(" \t")
	if start == from || text == "" || text[0] == '=' || !s.done() && s.text[s.at] != ',' {
		s.at = from
		return ""
	}
	return text
}

// toComma skips the rest of a list element, quoted strings as a whole.
func (s *scanner) toComma() {
	for !s.done() && s.text[s.at] != ',' {
		if s.text[s.at] == '"' {
			s.quoted()
			continue
		}
		s.at++
	}
}

func isTokenChar(c byte) bool {
	switch {
	case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		return true
	default:
		return strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
	}
}
