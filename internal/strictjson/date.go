package strictjson

// The instants that a NumericDate may name: the years 1 to 9999, which is what
// RFC 3339 can print and what survives adding a few durations.
const (
	MinDate = -62135596800
	MaxDate = 253402300799
)

// NumericDate decodes raw, a JSON number of seconds since 1970 (RFC 7519 §2),
// and rounds a fraction down. Instants outside the years 1 to 9999 are refused,
// milliseconds by mistake among them.
func NumericDate(raw []byte) (int64, error) {
	raw = trim(raw)
	if n, ok := small(raw); ok && len(raw) > 0 && (raw[0] != '0' || len(raw) == 1) {
		return inYears(n)
	}
	if len(raw) == 0 || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return 0, wrongType("expected a number")
	}
	s := scanner{data: raw}
	end, err := s.number(0)
	if err != nil {
		return 0, err
	}
	if end != len(raw) {
		return 0, syntax(end, "text after the number")
	}
	n, ok := floor(raw)
	if !ok {
		return 0, outOfRange("not an instant")
	}
	return inYears(n)
}

func inYears(n int64) (int64, error) {
	if n < MinDate || n > MaxDate {
		return 0, outOfRange("not an instant between the years 1 and 9999")
	}
	return n, nil
}

// floor rounds the JSON number raw down. It works on the digits as written: no
// floating point, and no work or memory that an exponent could blow up.
func floor(raw []byte) (int64, bool) {
	negative := raw[0] == '-'
	if negative {
		raw = raw[1:]
	}
	point, exponent := -1, 0
	mantissa := raw
	for i, c := range raw {
		switch c {
		case '.':
			point = i
		case 'e', 'E':
			mantissa, exponent = raw[:i], clampedInt(raw[i+1:])
		}
		if c == 'e' || c == 'E' {
			break
		}
	}
	whole := len(mantissa)
	if point >= 0 {
		whole = point
	}
	whole += exponent // digits before the point, once the exponent is applied
	var n int64
	fraction, at := false, 0
	for _, c := range mantissa {
		if c == '.' {
			continue
		}
		if at < whole {
			if n > MaxDate {
				return 0, false
			}
			n = n*10 + int64(c-'0')
		} else if c != '0' {
			fraction = true
		}
		at++
	}
	for ; at < whole && n != 0; at++ {
		if n > MaxDate {
			return 0, false
		}
		n *= 10
	}
	if negative {
		n = -n
		if fraction {
			n--
		}
	}
	return n, true
}

// clampedInt reads an exponent; what is beyond ±1,000,000 stays there.
func clampedInt(b []byte) int {
	sign := 1
	if b[0] == '-' {
		sign = -1
	}
	if b[0] == '-' || b[0] == '+' {
		b = b[1:]
	}
	n := 0
	for _, c := range b {
		if n = n*10 + int(c-'0'); n > 1_000_000 {
			return sign * 1_000_000
		}
	}
	return sign * n
}
