package issuer

import (
	"fmt"
	"net/http"
	"strings"

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
			if seen[n] = true; f.set(raw) != nil {
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

func (f field) wants() string {
	switch f.into.(type) {
	case *string:
		return "a string"
	case *bool:
		return "true or false"
	case *[]string:
		return "an array of strings"
	}
	return fmt.Sprintf("a %T", f.into)
}
