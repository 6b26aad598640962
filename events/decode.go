package events

import (
	"fmt"
	"time"

	"github.com/quash-auth/quash/internal/strictjson"
)

// Decode reads an encoded revocation. Members it does not know are ignored: a
// newer publisher may add some that do not change the verdict. Everything else
// it does not understand is an error that wraps ErrUndecodable, and the event
// must then be counted, not skipped silently: another version, an unknown
// scope, names in another case, duplicate members, anything over MaxEvent.
//
// The result shares no memory with data.
func Decode(data []byte) (Revocation, error) {
	var r Revocation
	if err := r.decode(data); err != nil {
		return Revocation{}, err
	}
	return r, nil
}

func undecodable(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUndecodable}, args...)...)
}

func (r *Revocation) decode(data []byte) error {
	if len(data) > MaxEvent {
		return undecodable("longer than %d bytes", MaxEvent)
	}
	var buf [20]strictjson.Member
	members, err := strictjson.Members(data, buf[:0])
	if err != nil {
		return undecodable("%w", err)
	}
	version := int64(-1)
	for i := range members {
		m := &members[i]
		if string(m.Name) == "v" {
			if version, err = strictjson.Int64(m.Value); err != nil {
				return undecodable("v: %w", err)
			}
			break
		}
	}
	if version != Version {
		return undecodable("version %d, this is a reader of version %d: upgrade it", version, Version)
	}
	for i := range members {
		if err := r.member(members[i].Name, members[i].Value); err != nil {
			return undecodable("%s: %w", string(members[i].Name), err) // a copy, so that members stay on the stack
		}
	}
	if err := r.check(); err != nil {
		return undecodable("%w", err)
	}
	return nil
}

func (r *Revocation) member(name, value []byte) (err error) {
	switch string(name) {
	case "id":
		r.ID, err = strictjson.String(value)
	case "iss":
		r.Issuer, err = strictjson.String(value)
	case "scope":
		r.Scope, err = decodeScope(value)
	case "key":
		r.Key, err = strictjson.String(value)
	case "before":
		r.Before, err = decodeSeconds(value)
	case "gen":
		r.Gen, err = strictjson.Uint64(value)
	case "until":
		r.Until, err = decodeSeconds(value)
	case "at":
		r.At, err = decodeMillis(value)
	case "by":
		r.By, err = decodeBy(value)
	case "actor":
		r.Actor, err = strictjson.String(value)
	case "reason":
		r.Reason, err = strictjson.String(value)
	case "txn":
		r.Txn, err = strictjson.String(value)
	}
	return err
}

// decodeScope and decodeBy know the few texts that occur, without a copy.
func decodeScope(value []byte) (Scope, error) {
	if len(value) > 2 {
		if s, ok := scopeNamed(string(value[1 : len(value)-1])); ok && value[0] == '"' {
			return s, nil
		}
	}
	name, err := strictjson.String(value)
	if err != nil {
		return 0, err
	}
	return ParseScope(name)
}

func decodeBy(value []byte) (string, error) {
	switch string(value) {
	case `"admin"`:
		return "admin", nil
	case `"user"`:
		return "user", nil
	case `"policy"`:
		return "policy", nil
	case `"system"`:
		return "system", nil
	}
	return strictjson.String(value)
}

func decodeSeconds(value []byte) (time.Time, error) {
	n, err := strictjson.Int64(value)
	if err != nil {
		return time.Time{}, err
	}
	if n < strictjson.MinDate || n > strictjson.MaxDate {
		return time.Time{}, strictjson.ErrRange
	}
	return time.Unix(n, 0).UTC(), nil
}

func decodeMillis(value []byte) (time.Time, error) {
	n, err := strictjson.Int64(value)
	if err != nil {
		return time.Time{}, err
	}
	if n < strictjson.MinDate*1000 || n > strictjson.MaxDate*1000+999 {
		return time.Time{}, strictjson.ErrRange
	}
	return time.UnixMilli(n).UTC(), nil
}
