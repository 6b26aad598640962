package events

import (
	"crypto/rand"
	"time"
	"unicode/utf8"

	"github.com/quash-auth/quash/internal/strictjson"
)

// Limits of a Revocation, in bytes.
const (
	MaxKey    = 512 // also of an issuer
	MaxID     = 128
	MaxText   = 512 // each of Actor, Reason, Txn
	MaxEvent  = 16 << 10
	idLetters = "0123456789abcdefghijklmnopqrstuv"
)

// Revocation is a statement: these tokens of this issuer are not to be
// accepted. It is a fact that is only ever added, never taken back; two
// statements about the same key join to the stronger of both.
type Revocation struct {
	// ID is unique; publishing the same statement with the same ID again is
	// harmless. Printable ASCII, at most MaxID bytes. Empty: Complete makes one.
	ID string
	// Issuer is the iss of the tokens concerned. Every key is scoped by it.
	// Required, at most MaxKey bytes.
	Issuer string
	// Scope says what Key names. Required.
	Scope Scope
	// Key is the jti, sid, sub, client_id or kid; any UTF-8, at most MaxKey
	// bytes. Empty exactly for scope issuer.
	Key string
	// Before covers tokens issued at or before it, in whole seconds (rounded
	// down). Only for the scopes subject, client, key and issuer. Zero: Complete
	// takes the present, except for scope key, which is then covered whole: a
	// thief of the key writes the iat he likes. Give it for a key only if the key
	// itself is good.
	Before time.Time
	// Gen, for scope subject only, covers tokens of the subject whose gen claim
	// is smaller. Tokens without gen are covered by Before. Zero means none. A
	// publisher takes at most MaxGen; what is above it is still read.
	Gen uint64
	// Until is when no covered token can still be alive and the statement may be
	// forgotten; whole seconds (rounded up). Zero: Complete computes it.
	Until time.Time
	// At is when it was decided, in milliseconds. Zero: Complete takes the present.
	At time.Time
	// By is who started it: admin, user, policy or system (the CAEP
	// initiating_entity). Empty: the publisher's default.
	By string
	// Actor, Reason and Txn are for the audit trail: who exactly, why, and which
	// call caused it. They never change the verdict and never reach the token's
	// bearer. At most MaxText bytes each.
	Actor, Reason, Txn string
}

// MaxGen is the largest generation that is published: 2^53-1, up to which all readers
// of JSON agree, and far enough from the end that a subject can always be revoked again.
const MaxGen = 1<<53 - 1

// NewID returns a random ID of 128 bits.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	out := make([]byte, 0, 26)
	for bit := 0; bit < 128; bit += 5 {
		i, shift := bit/8, bit%8
		v := uint16(b[i]) << 8
		if i+1 < len(b) {
			v |= uint16(b[i+1])
		}
		out = append(out, idLetters[v>>(11-shift)&31])
	}
	return string(out)
}

// Validate checks a complete statement, as it would be published at now. The
// error is a *FieldError. Instants in the future are fine for Before and At:
// clocks differ, and what was decided must not be dropped for it.
func (r Revocation) Validate(now time.Time) error {
	if err := r.check(); err != nil {
		return err
	}
	if err := r.checkAudit(); err != nil {
		return err
	}
	if !r.Until.After(now) {
		return badField("until", "%s is past: no token it covers can be alive, there is nothing to revoke", stamp(r.Until))
	}
	return nil
}

// check covers what decides the verdict. Decode and Encode hold to it too.
func (r *Revocation) check() error {
	if err := checkID(r.ID); err != nil {
		return err
	}
	if !r.Scope.Valid() {
		return badField("scope", "missing or unknown")
	}
	if err := checkName("iss", r.Issuer); err != nil {
		return err
	}
	if r.Scope == Issuer {
		if r.Key != "" {
			return badField("key", "must be empty for scope issuer: it covers all tokens of the issuer")
		}
	} else if err := checkName("key", r.Key); err != nil {
		return err
	}
	switch {
	case r.Scope.cutoff() && r.Before.IsZero():
		return badField("before", "required for scope %s", r.Scope)
	case !r.Scope.dated() && !r.Before.IsZero():
		return badField("before", "not for scope %s: it is covered whole", r.Scope)
	case r.Gen != 0 && r.Scope != Subject:
		return badField("gen", "only for scope subject")
	case r.Until.IsZero():
		return badField("until", "required: without it the statement could never be forgotten")
	case !r.Before.IsZero() && !tokenTime(r.Before):
		return badField("before", "outside the years 1970 to 9999: no token was issued then")
	case !tokenTime(r.Until):
		return badField("until", "outside the years 1970 to 9999")
	case !writable(r.At):
		return badField("at", "outside the years 1 to 9999")
	}
	return nil
}

// tokenTime reports whether a token can carry t: a second after the epoch
// (RFC 7519 section 2) that our encoding can express.
func tokenTime(t time.Time) bool { return t.Unix() > 0 && writable(t) }

// checkAudit covers what only the audit trail needs. A reader tolerates more
// than a publisher may write.
func (r *Revocation) checkAudit() error {
	switch r.By {
	case "admin", "user", "policy", "system":
	case "":
		return badField("by", "required: admin, user, policy or system")
	default:
		return badField("by", "%.40q is none of admin, user, policy, system", r.By)
	}
	for _, f := range [...]struct{ name, text string }{{"actor", r.Actor}, {"reason", r.Reason}, {"txn", r.Txn}} {
		if len(f.text) > MaxText {
			return badField(f.name, "%d bytes, at most %d are allowed", len(f.text), MaxText)
		}
		if !utf8.ValidString(f.text) {
			return badField(f.name, "not valid UTF-8")
		}
	}
	return nil
}

func checkName(field, text string) error {
	switch {
	case text == "":
		return badField(field, "required")
	case len(text) > MaxKey:
		return badField(field, "%d bytes, at most %d are allowed", len(text), MaxKey)
	case !utf8.ValidString(text):
		return badField(field, "not valid UTF-8")
	}
	return nil
}

func checkID(id string) error {
	if id == "" {
		return badField("id", "required")
	}
	if len(id) > MaxID {
		return badField("id", "%d bytes, at most %d are allowed", len(id), MaxID)
	}
	for i := 0; i < len(id); i++ {
		if id[i] <= ' ' || id[i] > '~' {
			return badField("id", "only printable ASCII without spaces is allowed")
		}
	}
	return nil
}

// writable reports whether the encoding can carry the instant.
func writable(t time.Time) bool {
	s := t.Unix()
	return s >= strictjson.MinDate && s < strictjson.MaxDate
}

// ceil rounds up to a whole second, in UTC.
func ceil(t time.Time) time.Time {
	whole := floor(t)
	if whole.Before(t) {
		return whole.Add(time.Second)
	}
	return whole
}

// floor rounds down to a whole second, in UTC.
func floor(t time.Time) time.Time { return time.Unix(t.Unix(), 0).UTC() }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
