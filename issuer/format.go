package issuer

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/quash-auth/quash/internal/strictjson"
)

// Every record says what it is: its kind, the version of its layout, and the key it was written for. Whoever can make NATS
// store something else under a record's key (an answer of the server sent there as a reply, a copy of another record) must
// not turn "revoked" into "nothing known": what does not say so exactly is refused, never read as empty.
const formatVersion = 1

const (
	kindMark    = "mark"
	kindSession = "session"
	kindUser    = "user"
	kindName    = "name"
	kindPointer = "pointer"
	kindCursor  = "cursor"
	kindTokens  = "tokens"
	kindClient  = "client"
	kindPeers   = "peers"
	kindIndex   = "index"
	kindCode    = "code"
	kindForm    = "form"

	kindAlteration = "alteration"
	kindFamily     = "family"
	kindLasting    = "lasting"
)

// neverDeleted: the issuer deletes sessions, their index records and pointers only. A deleted mark would be an un-revocation.
func neverDeleted(key string) bool { return key[0] != 's' && key[0] != 'p' && key[0] != 'x' }

// badRecord names the record; it is ErrRecord and ErrUnavailable.
func badRecord(key string, why error) error {
	return fmt.Errorf("%w: %w: %s: %w", ErrUnavailable, ErrRecord, key, why)
}

// encodeRecord is v, a struct, as the record of a key.
func encodeRecord(kind, key string, v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode the %s record: %w", kind, err)
	}
	name, err := json.Marshal(key)
	if err != nil {
		return nil, fmt.Errorf("encode the %s record's key: %w", kind, err)
	}
	out := append(make([]byte, 0, len(body)+len(name)+48), `{"kind":"`+kind+`","v":`+strconv.Itoa(formatVersion)+`,"key":`...)
	out = append(out, name...)
	if len(body) > len("{}") {
		out = append(out, ',')
	}
	return append(out, body[1:]...), nil
}

// field is a member of a record and where it goes: *string, *state, *bool, *int64, *uint64, *float64, *[]byte (base64), *[]string,
// *json.RawMessage or *[]json.RawMessage.
type field struct {
	name     string
	into     any
	optional bool
}

// decode reads a record that must be of this kind and have these members, and no others. The error is ErrRecord.
func (r record) decode(kind string, fields ...field) error {
	var gotKind, gotKey string
	var version uint64
	fields = append([]field{{name: "kind", into: &gotKind}, {name: "v", into: &version}, {name: "key", into: &gotKey}}, fields...)
	seen := make([]bool, len(fields))
	err := strictjson.Object(r.value, func(name string, raw []byte) error {
		for n, f := range fields {
			if f.name == name {
				seen[n] = true
				if err := f.set(raw); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				return nil
			}
		}
		return fmt.Errorf("unknown member %.32q", name)
	})
	for n := 0; err == nil && n < len(fields); n++ {
		if !seen[n] && !fields[n].optional {
			err = fmt.Errorf("no member %s", fields[n].name)
		}
	}
	switch {
	case err != nil:
	case gotKind != kind:
		err = fmt.Errorf("is of kind %.32q, not %s", gotKind, kind)
	case version != formatVersion:
		err = fmt.Errorf("has layout version %d, this issuer reads %d", version, formatVersion)
	case gotKey != r.key:
		err = fmt.Errorf("was written for another key")
	}
	if err != nil {
		return badRecord(r.key, err)
	}
	return nil
}

func (f field) set(raw []byte) (err error) {
	switch p := f.into.(type) {
	case *string:
		*p, err = strictjson.String(raw)
	case *state:
		var text string
		text, err = strictjson.String(raw)
		*p = state(text)
	case *bool:
		*p, err = strictjson.Bool(raw)
	case *int64:
		*p, err = strictjson.Int64(raw)
	case *uint64:
		*p, err = strictjson.Uint64(raw)
	case *float64:
		*p, err = strconv.ParseFloat(string(raw), 64)
	case *[]byte:
		var text string
		if text, err = strictjson.String(raw); err == nil {
			*p, err = base64.StdEncoding.Strict().DecodeString(text)
		}
	case *[]string:
		*p = []string{}
		err = strictjson.Elements(raw, func(value []byte) error {
			text, err := strictjson.String(value)
			*p = append(*p, text)
			return err
		})
	case *json.RawMessage:
		*p = append(json.RawMessage(nil), raw...)
	case *[]json.RawMessage:
		*p = nil
		err = strictjson.Elements(raw, func(value []byte) error {
			*p = append(*p, append(json.RawMessage(nil), value...))
			return nil
		})
	default:
		err = fmt.Errorf("no reader for %T", p)
	}
	return err
}
