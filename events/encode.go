package events

import (
	"strconv"
	"time"

	"github.com/quash-auth/quash/internal/strictjson"
)

// Version is the number in the "v" member of an encoded revocation. Members may
// be added within a version; what changes a verdict needs a new one.
const Version = 1

// Encode writes r as one JSON object, format version 1. Before is rounded down
// and Until up to whole seconds, At down to milliseconds. The members have a
// fixed order and those that are empty are left out, so equal statements have
// equal encodings.
func Encode(r Revocation) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if err := r.checkAudit(); err != nil {
		return nil, err
	}
	return r.append(make([]byte, 0, 192+len(r.Key)+len(r.Reason))), nil
}

func (r *Revocation) append(b []byte) []byte {
	b = append(b, `{"v":1,"id":`...)
	b = strictjson.AppendString(b, r.ID)
	b = append(b, `,"iss":`...)
	b = strictjson.AppendString(b, r.Issuer)
	b = append(b, `,"scope":"`...)
	b = append(b, r.Scope.String()...)
	b = append(b, '"')
	b = appendText(b, `,"key":`, r.Key)
	if !r.Before.IsZero() {
		b = append(b, `,"before":`...)
		b = strconv.AppendInt(b, r.Before.Unix(), 10)
	}
	if r.Gen != 0 {
		b = append(b, `,"gen":`...)
		b = strconv.AppendUint(b, r.Gen, 10)
	}
	b = append(b, `,"until":`...)
	b = strconv.AppendInt(b, ceil(r.Until).Unix(), 10)
	if !r.At.IsZero() {
		b = append(b, `,"at":`...)
		b = strconv.AppendInt(b, millis(r.At), 10)
	}
	b = appendText(b, `,"by":`, r.By)
	b = appendText(b, `,"actor":`, r.Actor)
	b = appendText(b, `,"reason":`, r.Reason)
	b = appendText(b, `,"txn":`, r.Txn)
	return append(b, '}')
}

func appendText(b []byte, name, text string) []byte {
	if text == "" {
		return b
	}
	return strictjson.AppendString(append(b, name...), text)
}

// millis rounds down to milliseconds since 1970.
func millis(t time.Time) int64 { return t.UnixMilli() }
