package strictjson

import (
	"encoding/json"
	"strconv"
)

// trim cuts the space around raw.
func trim(raw []byte) []byte {
	s := scanner{data: raw}
	start := s.space(0)
	end := len(raw)
	for end > start {
		switch raw[end-1] {
		case ' ', '\t', '\n', '\r':
			end--
			continue
		}
		break
	}
	return raw[start:end]
}

// String decodes raw, which must be a JSON string.
func String(raw []byte) (string, error) {
	raw = trim(raw)
	if len(raw) == 0 || raw[0] != '"' {
		return "", wrongType("expected a string")
	}
	s := scanner{data: raw}
	end, escaped, err := s.str(0)
	if err != nil {
		return "", err
	}
	if end != len(raw) {
		return "", syntax(end, "text after the string")
	}
	if escaped {
		return string(unescape(raw[1 : end-1])), nil
	}
	return string(raw[1 : end-1]), nil
}

// Strings decodes raw, which must be a JSON string or an array of strings.
func Strings(raw []byte) ([]string, error) {
	raw = trim(raw)
	if len(raw) > 0 && raw[0] == '"' {
		one, err := String(raw)
		if err != nil {
			return nil, err
		}
		return []string{one}, nil
	}
	if len(raw) == 0 || raw[0] != '[' {
		return nil, wrongType("expected a string or an array of strings")
	}
	out := []string{}
	err := elements(raw, func(value []byte) error {
		text, err := String(value)
		if err != nil {
			return err
		}
		out = append(out, text)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Elements checks raw, which must be a JSON array, and calls element with the
// raw text of each of its values in order.
func Elements(raw []byte, element func(value []byte) error) error {
	raw = trim(raw)
	if len(raw) == 0 || raw[0] != '[' {
		return wrongType("expected an array")
	}
	return elements(raw, element)
}

func elements(raw []byte, element func(value []byte) error) error {
	if err := Valid(raw); err != nil {
		return err
	}
	s := scanner{data: raw}
	for pos := s.space(1); raw[pos] != ']'; {
		end, err := s.value(pos, 1)
		if err != nil {
			return err
		}
		if err := element(raw[pos:end:end]); err != nil {
			return err
		}
		if pos = s.space(end); raw[pos] == ',' {
			pos = s.space(pos + 1)
		}
	}
	return nil
}

// Bool decodes raw, which must be true or false.
func Bool(raw []byte) (bool, error) {
	switch string(trim(raw)) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, wrongType("expected true or false")
}

// Null reports whether raw is the JSON null.
func Null(raw []byte) bool { return string(trim(raw)) == "null" }

// Int64 decodes raw, which must be a whole number without fraction or exponent.
func Int64(raw []byte) (int64, error) {
	raw, err := integer(raw)
	if err != nil {
		return 0, err
	}
	if n, ok := small(raw); ok {
		return n, nil
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return 0, outOfRange("expected a 64-bit integer")
	}
	return n, nil
}

// Uint64 decodes raw, which must be a whole number of zero or more without
// fraction or exponent.
func Uint64(raw []byte) (uint64, error) {
	raw, err := integer(raw)
	if err != nil {
		return 0, err
	}
	if n, ok := small(raw); ok {
		return uint64(n), nil
	}
	n, err := strconv.ParseUint(string(raw), 10, 64)
	if err != nil {
		return 0, outOfRange("expected an unsigned 64-bit integer")
	}
	return n, nil
}

// integer checks that raw is a number without fraction or exponent.
func integer(raw []byte) ([]byte, error) {
	raw = trim(raw)
	if len(raw) == 0 || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return nil, wrongType("expected a number")
	}
	s := scanner{data: raw}
	end, err := s.number(0)
	if err != nil {
		return nil, err
	}
	if end != len(raw) {
		return nil, syntax(end, "text after the number")
	}
	for _, c := range raw {
		if c == '.' || c == 'e' || c == 'E' {
			return nil, wrongType("expected a whole number")
		}
	}
	return raw, nil
}

// small reads up to 18 digits without a sign.
func small(raw []byte) (int64, bool) {
	if len(raw) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range raw {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// Any decodes raw into map[string]any, []any, string, json.Number, bool or nil.
func Any(raw []byte) (any, error) {
	if err := Valid(raw); err != nil {
		return nil, err
	}
	return decode(trim(raw))
}

func decode(raw []byte) (any, error) {
	switch raw[0] {
	case '{':
		members, err := Members(raw, nil)
		if err != nil {
			return nil, err
		}
		out := make(map[string]any, len(members))
		for _, m := range members {
			if out[string(m.Name)], err = decode(m.Value); err != nil {
				return nil, err
			}
		}
		return out, nil
	case '[':
		out := []any{}
		err := elements(raw, func(value []byte) error {
			v, err := decode(value)
			out = append(out, v)
			return err
		})
		if err != nil {
			return nil, err
		}
		return out, nil
	case '"':
		return String(raw)
	case 't':
		return true, nil
	case 'f':
		return false, nil
	case 'n':
		return nil, nil
	}
	return json.Number(raw), nil
}
