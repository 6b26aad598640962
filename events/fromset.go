package events

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
	"unicode/utf8"

	"github.com/quash-auth/quash/internal/strictjson"
)

// FromSET reads the claims of a Security Event Token. Of our own (see SET) it
// returns exactly what was encoded. Of others it takes the CAEP event
// session-revoked and the RISC events that end an account's sessions, where
// their subject names a token, a session, a subject of an issuer, or a client;
// Until stays zero for Complete to fill, and ID is derived from iss and jti.
//
// What it cannot express exactly it refuses with ErrUndecodable rather than
// widen or narrow it: a user on one device, an e-mail address, two events at
// once. It checks no signature, audience or right to speak for an issuer: that
// is the caller's, before.
func FromSET(claims []byte) (Revocation, error) {
	if len(claims) > MaxEvent {
		return Revocation{}, undecodable("SET longer than %d bytes", MaxEvent)
	}
	s, err := parseSET(claims)
	if err != nil {
		return Revocation{}, undecodable("SET: %w", err)
	}
	r, err := s.revocation()
	if err != nil {
		return Revocation{}, undecodable("SET: %w", err)
	}
	return r, nil
}

// incomingSET is a SET as somebody sent it.
type incomingSET struct {
	issuer, id, txn string
	issuedAt        int64
	subject         []byte // raw sub_id, or the event's subject
	uri             string // of the event
	event           incomingEvent
}

type incomingEvent struct {
	timestamp  *int64
	initiating string
	reason     string
	subject    []byte
	quash      []byte
}

func parseSET(claims []byte) (*incomingSET, error) {
	s := &incomingSET{}
	have := make(map[string]bool)
	err := strictjson.Object(claims, func(name string, value []byte) (err error) {
		have[name] = true
		switch name {
		case "iss":
			s.issuer, err = strictjson.String(value)
		case "jti":
			s.id, err = strictjson.String(value)
		case "iat":
			s.issuedAt, err = strictjson.NumericDate(value)
		case "txn":
			s.txn, err = strictjson.String(value)
		case "sub_id":
			s.subject = value
		case "events":
			err = s.parseEvents(value)
		case "exp", "sub":
			err = badField(name, "must not be in a SET (OpenID SSF 1.0 §4.1)")
		}
		return named(name, err)
	})
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"iss", "jti", "iat", "events"} {
		if !have[name] {
			return nil, badField(name, "required (RFC 8417 §2.2)")
		}
	}
	if s.subject == nil {
		s.subject = s.event.subject
	}
	if s.subject == nil {
		return nil, badField("sub_id", "required")
	}
	return s, nil
}

func (s *incomingSET) parseEvents(raw []byte) error {
	n := 0
	err := strictjson.Object(raw, func(uri string, value []byte) error {
		n++
		s.uri = uri
		return s.event.parse(value)
	})
	if err == nil && n != 1 {
		err = badField("events", "holds %d events, exactly one is understood", n)
	}
	return err
}

func (e *incomingEvent) parse(raw []byte) error {
	return strictjson.Object(raw, func(name string, value []byte) (err error) {
		switch name {
		case "event_timestamp":
			var t int64
			t, err = strictjson.NumericDate(value)
			e.timestamp = &t
		case "initiating_entity":
			e.initiating, err = strictjson.String(value)
		case "reason_admin":
			e.reason, err = parseReason(value)
		case "subject":
			e.subject = value
		case "quash":
			e.quash = value
		}
		return named(name, err)
	})
}

// parseReason takes the English text of a language map, else its first one.
func parseReason(raw []byte) (string, error) {
	if len(raw) > 0 && raw[0] == '"' { // some send a plain text
		return strictjson.String(raw)
	}
	first, english := "", ""
	err := strictjson.Object(raw, func(tag string, value []byte) error {
		text, err := strictjson.String(value)
		if first == "" {
			first = text
		}
		if tag == "en" {
			english = text
		}
		return err
	})
	if english != "" {
		first = english
	}
	return first, err
}

func (s *incomingSET) revocation() (Revocation, error) {
	if s.uri == caepSessionRevoked && s.event.quash != nil {
		return s.ours()
	}
	return s.foreign()
}

// ours is the inverse of Revocation.SET.
func (s *incomingSET) ours() (Revocation, error) {
	r := Revocation{ID: s.id, Txn: s.txn, By: s.event.initiating, Reason: s.event.reason}
	err := strictjson.Object(s.event.quash, func(name string, value []byte) (err error) {
		switch name {
		case "scope":
			r.Scope, err = decodeScope(value)
		case "iss":
			r.Issuer, err = strictjson.String(value)
		case "key":
			r.Key, err = strictjson.String(value)
		case "before":
			r.Before, err = decodeSeconds(value)
		case "min_gen":
			r.Gen, err = strictjson.Uint64(value)
		case "retain_until":
			r.Until, err = decodeSeconds(value)
		case "at_ms":
			r.At, err = decodeMillis(value)
		case "actor":
			r.Actor, err = strictjson.String(value)
		}
		return named("quash."+name, err)
	})
	if err != nil {
		return Revocation{}, err
	}
	if err := r.check(); err != nil {
		return Revocation{}, err
	}
	// The subject is what everybody else acts on: both must say the same.
	said, err := s.target()
	if err != nil {
		return Revocation{}, err
	}
	if said.scope != 0 && (said.scope != r.Scope || said.key != r.Key || said.issuer != "" && said.issuer != r.Issuer) {
		return Revocation{}, badField("sub_id", "names something else than the member quash")
	}
	return r, nil
}

func (s *incomingSET) foreign() (Revocation, error) {
	t, err := s.target()
	if err != nil {
		return Revocation{}, err
	}
	switch s.uri {
	case caepSessionRevoked:
		if t.scope == 0 {
			return Revocation{}, badField("sub_id", "an opaque identifier or URI does not say what it names")
		}
	case riscSessionsRevoked, riscDisabled, riscPurged, riscChangeRequired, riscCompromised:
		if t.scope != Subject {
			return Revocation{}, badField("sub_id", "only a subject of an issuer (iss_sub) is understood for this event")
		}
	default:
		return Revocation{}, badField("events", "event type %.120q does not end sessions", s.uri)
	}
	when := s.issuedAt
	if s.event.timestamp != nil {
		when = *s.event.timestamp
	}
	at := seconds(when)
	r := Revocation{
		ID: foreignID(s.issuer, s.id), Issuer: t.issuer, Scope: t.scope, Key: t.key, At: at,
		By: s.event.initiating, Reason: clip(s.event.reason), Txn: clip(s.txn),
	}
	if r.Issuer == "" {
		r.Issuer = s.issuer
	}
	if r.Scope.cutoff() {
		r.Before = at
	}
	switch r.By {
	case "admin", "user", "policy", "system":
	default:
		r.By = ""
	}
	probe := r
	probe.Until = at.Add(time.Second) // Complete fills it
	return r, probe.check()
}

// foreignID keeps another transmitter's jti from colliding with our IDs.
func foreignID(issuer, jti string) string {
	sum := sha256.Sum256([]byte(issuer + "\x00" + jti))
	return "set-" + hex.EncodeToString(sum[:16])
}

// clip shortens a text for the audit trail to what a Revocation holds.
func clip(text string) string {
	if len(text) <= MaxText {
		return text
	}
	text = text[:MaxText]
	for !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return text
}

func named(name string, err error) error {
	if err == nil {
		return nil
	}
	return &memberError{name: name, err: err}
}

// memberError says in which member something is wrong.
type memberError struct {
	name string
	err  error
}

func (e *memberError) Error() string { return e.name + ": " + e.err.Error() }
func (e *memberError) Unwrap() error { return e.err }
