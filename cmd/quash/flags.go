package main

import (
	"cmp"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// logFlags say how much a long-running command tells on standard error.
type logFlags struct {
	LogLevel string `default:"info" enum:"debug,info,warn,error" help:"What to log on standard error: ${enum} (${default})."`
}

// until reads --until: RFC 3339, or a duration from now. Nil: not given.
func until(flag string, text *string, now time.Time) (time.Time, error) {
	return instant(flag, text, "90m for 90 minutes from now", func(d time.Duration) time.Time { return now.Add(d) })
}

// before reads --before: RFC 3339, or a duration ago. Nil: not given.
func before(flag string, text *string, now time.Time) (time.Time, error) {
	return instant(flag, text, "5m for five minutes ago", func(d time.Duration) time.Time { return now.Add(-d) })
}

// instant never gives the zero time for a text: it would be taken for "not
// given", which stands for something else.
func instant(flag string, text *string, example string, at func(time.Duration) time.Time) (time.Time, error) {
	if text == nil {
		return time.Time{}, nil
	}
	if *text == "" {
		return time.Time{}, usagef(flag, "is empty: give a time like 2026-01-02T15:04:05Z, a duration like %s, or leave the flag out", example)
	}
	if t, err := time.Parse(time.RFC3339, *text); err == nil {
		if t.Unix() <= 0 {
			return time.Time{}, usagef(flag, "%s is before 1970: no token is that old", *text)
		}
		return t, nil
	}
	d, err := time.ParseDuration(*text)
	if err != nil {
		return time.Time{}, usagef(flag, "%q is neither a time like 2026-01-02T15:04:05Z nor a duration like %s", *text, example)
	}
	if d < 0 {
		return time.Time{}, usagef(flag, "%s is negative: give %s", *text, example)
	}
	return at(d), nil
}

// least refuses what a library would take for "use the default", and what would do more harm than good.
func least[T cmp.Ordered](flag string, value, least T, why string) error {
	if value >= least {
		return nil
	}
	return usagef(flag, "%v is below %v: %s", value, least, why)
}

// checkStaleness refuses a bound that a healthy node would miss now and then.
func checkStaleness(d time.Duration) error {
	if d < 2*time.Second {
		return usagef("--max-staleness", "%v is below 2s: beacons come about once a second, so a healthy node would answer 503", d)
	}
	return nil
}

func checkDrain(d time.Duration) error {
	if d < 0 {
		return usagef("--drain", "%v is negative", d)
	}
	return nil
}

// byteSize reads 4096, 512KiB, 10MiB, 1GiB, 2TiB.
func byteSize(flag, text string) (int64, error) {
	number, unit := text, int64(1)
	for suffix, n := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40} {
		if rest, ok := strings.CutSuffix(text, suffix); ok {
			number, unit = rest, n
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if err != nil || n <= 0 || n > (1<<62)/unit {
		return 0, usagef(flag, "%q is not a size like 512MiB or 1GiB", text)
	}
	return n * unit, nil
}

// httpURL checks an absolute http or https URL without query and fragment.
func httpURL(flag, text string) error {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		if strings.Contains(text, "@") {
			text = "…" // it may hold a password
		}
		return usagef(flag, "%q is not a URL like https://issuer.example", text)
	}
	if u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return usagef(flag, "%q must not have a query, a fragment or a user", u.Scheme+"://"+u.Host+u.Path) // the rest may be secret
	}
	return nil
}

// namePassword splits NAME:PASSWORD at the first colon.
func namePassword(flag, text string) (name, password string, err error) {
	name, password, ok := strings.Cut(text, ":")
	if !ok || name == "" || password == "" {
		return "", "", usagef(flag, "must be NAME:PASSWORD, both not empty") // never the text: it is a secret
	}
	return name, password, nil
}
