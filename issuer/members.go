package issuer

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/strictjson"
)

// readMembers reads a JSON object that has these members and no others. If all are optional there may be no body.
func readMembers(r *http.Request, fields ...field) error {
	needed := false
	for _, f := range fields {
		needed = needed || !f.optional
	}
	if !needed && r.ContentLength == 0 && r.Header.Get("Content-Type") == "" {
		return nil
	}
	body, err := readJSON(r)
	if err != nil {
		return err
	}
	return parseMembers(body, fields...)
}

func parseMembers(body []byte, fields ...field) error {
	seen := make([]bool, len(fields))
	err := strictjson.Object(body, func(name string, raw []byte) error {
		for n, f := range fields {
			if f.name != name {
				continue
			}
			if seen[n] = true; f.read(raw) != nil {
				return badRequest(name + ": must be " + f.wants())
			}
			return nil
		}
		names := make([]string, len(fields))
		for n, f := range fields {
			names[n] = f.name
		}
		return badRequest("unknown member, there are " + strings.Join(names, ", "))
	})
	if err != nil {
		return jsonError(err)
	}
	for n, f := range fields {
		if !seen[n] && !f.optional {
			return badRequest(f.name + ": is required")
		}
	}
	return nil
}

// positive is a number that is there: zero means that it is not.
type positive uint64

// read is set with what only requests have.
func (f field) read(raw []byte) (err error) {
	switch p := f.into.(type) {
	case *positive:
		var n uint64
		if n, err = strictjson.Uint64(raw); err == nil && n == 0 {
			err = errors.New("zero")
		}
		*p = positive(n)
	case *events.Scope:
		var text string
		if text, err = strictjson.String(raw); err == nil {
			*p, err = events.ParseScope(text)
		}
	case *time.Time:
		var seconds int64
		seconds, err = strictjson.NumericDate(raw)
		*p = time.Unix(seconds, 0)
	case *audience:
		*p, err = strictjson.Strings(raw)
	default:
		err = f.set(raw)
	}
	return err
}

func (f field) wants() string {
	switch f.into.(type) {
	case *positive:
		return "a positive whole number"
	case *events.Scope:
		return "token, session, subject, client, key or issuer"
	case *time.Time:
		return "a number of seconds since 1970"
	case *audience:
		return "a string or an array of strings"
	case *string:
		return "a string"
	case *bool:
		return "true or false"
	case *[]string:
		return "an array of strings"
	}
	return fmt.Sprintf("a %T", f.into)
}
