package strictjson

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// scanner walks a document. Its methods take the position to start from and
// return the position after what they read.
type scanner struct {
	data []byte
}

func (s *scanner) space(pos int) int {
	for pos < len(s.data) {
		switch s.data[pos] {
		case ' ', '\t', '\n', '\r':
			pos++
		default:
			return pos
		}
	}
	return pos
}

// value reads any value. depth is the number of containers already open.
func (s *scanner) value(pos, depth int) (int, error) {
	if pos >= len(s.data) {
		return pos, syntax(pos, "unexpected end")
	}
	switch c := s.data[pos]; {
	case c == '"':
		end, _, err := s.str(pos)
		return end, err
	case c == '-' || '0' <= c && c <= '9':
		return s.number(pos)
	case c == '{':
		return s.object(pos, depth+1)
	case c == '[':
		return s.array(pos, depth+1)
	case c == 't':
		return s.literal(pos, "true")
	case c == 'f':
		return s.literal(pos, "false")
	case c == 'n':
		return s.literal(pos, "null")
	}
	return pos, syntax(pos, "expected a value")
}

func (s *scanner) literal(pos int, word string) (int, error) {
	if len(s.data)-pos < len(word) || string(s.data[pos:pos+len(word)]) != word {
		return pos, syntax(pos, "expected a value")
	}
	return pos + len(word), nil
}

func (s *scanner) array(pos, depth int) (int, error) {
	if depth > MaxDepth {
		return pos, &Error{Offset: pos, Reason: "array", Kind: ErrDepth}
	}
	pos = s.space(pos + 1)
	if pos < len(s.data) && s.data[pos] == ']' {
		return pos + 1, nil
	}
	for {
		var err error
		if pos, err = s.value(pos, depth); err != nil {
			return pos, err
		}
		pos = s.space(pos)
		if pos >= len(s.data) {
			return pos, syntax(pos, "unexpected end in an array")
		}
		switch s.data[pos] {
		case ',':
			pos = s.space(pos + 1)
		case ']':
			return pos + 1, nil
		default:
			return pos, syntax(pos, "expected a comma or the end of the array")
		}
	}
}

// object reads an object inside the document and forgets it.
func (s *scanner) object(pos, depth int) (int, error) {
	if depth > MaxDepth {
		return pos, &Error{Offset: pos, Reason: "object", Kind: ErrDepth}
	}
	var room [8][]byte
	var names nameSet
	list := room[:0]
	pos, more, err := s.first(pos)
	for more && err == nil {
		var name []byte
		if name, pos, err = s.name(pos); err != nil {
			break
		}
		if !names.add(list, name) {
			return pos, duplicate(pos)
		}
		list = append(list, name)
		if pos, err = s.value(pos, depth); err != nil {
			break
		}
		pos, more, err = s.next(pos)
	}
	return pos, err
}

func duplicate(pos int) error {
	return &Error{Offset: pos, Reason: "in one object", Kind: ErrDuplicate}
}

// first steps into the object at pos and reports whether it has members.
func (s *scanner) first(pos int) (int, bool, error) {
	pos = s.space(pos + 1)
	if pos < len(s.data) && s.data[pos] == '}' {
		return pos + 1, false, nil
	}
	return pos, true, nil
}

// name reads a member's name and returns the position of its value.
func (s *scanner) name(pos int) ([]byte, int, error) {
	if pos >= len(s.data) || s.data[pos] != '"' {
		return nil, pos, syntax(pos, "expected a member name")
	}
	end, escaped, err := s.str(pos)
	if err != nil {
		return nil, pos, err
	}
	name := s.data[pos+1 : end-1]
	if escaped {
		name = unescape(name)
	}
	pos = s.space(end)
	if pos >= len(s.data) || s.data[pos] != ':' {
		return nil, pos, syntax(pos, "expected a colon")
	}
	return name, s.space(pos + 1), nil
}

// next steps over what follows a member and reports whether another one does.
func (s *scanner) next(pos int) (int, bool, error) {
	pos = s.space(pos)
	if pos >= len(s.data) {
		return pos, false, syntax(pos, "unexpected end in an object")
	}
	switch s.data[pos] {
	case ',':
		return s.space(pos + 1), true, nil
	case '}':
		return pos + 1, false, nil
	}
	return pos, false, syntax(pos, "expected a comma or the end of the object")
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special marks (with the high bit of their byte) the bytes of w that end the
// fast walk through a string: quote, backslash, control, non-ASCII. Bytes
// above the first marked one may be marked wrongly; only the first is used.
func special(w uint64) uint64 {
	quote := w ^ ones*'"'
	slash := w ^ ones*'\\'
	return ((quote-ones)&^quote | (slash-ones)&^slash | (w-ones*0x20)&^w | w) & highs
}

// str reads a string that starts with the quote at pos.
func (s *scanner) str(pos int) (end int, escaped bool, err error) {
	data := s.data
	start := pos + 1
	ascii := true
	for i := start; ; {
		for len(data)-i >= 8 {
			m := special(binary.LittleEndian.Uint64(data[i:]))
			if m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				break
			}
			i += 8
		}
		if i >= len(data) {
			return i, false, syntax(pos, "string without an end")
		}
		switch c := data[i]; {
		case c == '"':
			if !ascii && !utf8.Valid(data[start:i]) {
				return i, false, syntax(pos, "string is not valid UTF-8")
			}
			return i + 1, escaped, nil
		case c == '\\':
			n := escape(data[i:])
			if n == 0 {
				return i, false, syntax(i, "bad escape in a string")
			}
			escaped = true
			i += n
		case c < 0x20:
			return i, false, syntax(i, "control character in a string")
		default:
			if c >= utf8.RuneSelf {
				ascii = false
			}
			i++
		}
	}
}

func (s *scanner) number(pos int) (int, error) {
	data, start := s.data, pos
	if data[pos] == '-' {
		pos++
	}
	switch {
	case pos < len(data) && data[pos] == '0':
		pos++
	default:
		n := digits(data[pos:])
		if n == 0 {
			return start, syntax(start, "number without digits")
		}
		pos += n
	}
	if pos < len(data) && data[pos] == '.' {
		n := digits(data[pos+1:])
		if n == 0 {
			return start, syntax(start, "number without digits after the point")
		}
		pos += 1 + n
	}
	if pos < len(data) && (data[pos] == 'e' || data[pos] == 'E') {
		pos++
		if pos < len(data) && (data[pos] == '+' || data[pos] == '-') {
			pos++
		}
		n := digits(data[pos:])
		if n == 0 {
			return start, syntax(start, "number without digits in the exponent")
		}
		pos += n
	}
	return pos, nil
}

func digits(b []byte) int {
	n := 0
	for n < len(b) && '0' <= b[n] && b[n] <= '9' {
		n++
	}
	return n
}
