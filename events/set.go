package events

import (
	"encoding/json"
	"time"
)

// The events of OpenID CAEP 1.0 and RISC 1.0 that end sessions.
const (
	caepSessionRevoked = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"

	riscBase            = "https://schemas.openid.net/secevent/risc/event-type/"
	riscSessionsRevoked = riscBase + "sessions-revoked" // deprecated, still sent
	riscDisabled        = riscBase + "account-disabled"
	riscPurged          = riscBase + "account-purged"
	riscChangeRequired  = riscBase + "account-credential-change-required"
	riscCompromised     = riscBase + "credential-compromise"
)

// setClaims are the claims of a Security Event Token (RFC 8417) in the profile
// of OpenID SSF 1.0 §4.1: sub_id, one event, neither sub nor exp.
type setClaims struct {
	Issuer   string              `json:"iss"`
	ID       string              `json:"jti"`
	IssuedAt int64               `json:"iat"`
	Audience string              `json:"aud,omitempty"`
	Txn      string              `json:"txn,omitempty"`
	Subject  subjectID           `json:"sub_id"`
	Events   map[string]setEvent `json:"events"`
}

type setEvent struct {
	Timestamp  int64             `json:"event_timestamp"`
	Initiating string            `json:"initiating_entity"`
	Reason     map[string]string `json:"reason_admin,omitempty"`
	Quash      setExtension      `json:"quash"`
}

// setExtension carries what CAEP has no member for. Others ignore it (SSF §4.2.3).
type setExtension struct {
	Scope       Scope  `json:"scope"`
	Issuer      string `json:"iss"`
	Key         string `json:"key,omitempty"`
	Before      *int64 `json:"before,omitempty"`
	MinGen      uint64 `json:"min_gen,omitempty"`
	RetainUntil int64  `json:"retain_until"`
	At          *int64 `json:"at_ms,omitempty"`
	Actor       string `json:"actor,omitempty"`
}

// subjectID is a subject identifier (RFC 9493, SSF 1.0 §3). Only the members of
// its format are set.
type subjectID struct {
	Format      string     `json:"format"`
	Issuer      string     `json:"iss,omitempty"`
	Sub         string     `json:"sub,omitempty"`
	JTI         string     `json:"jti,omitempty"`
	ID          string     `json:"id,omitempty"`
	URI         string     `json:"uri,omitempty"`
	Session     *subjectID `json:"session,omitempty"`
	Application *subjectID `json:"application,omitempty"`
}

// SET returns the claims of a CAEP session-revoked Security Event Token (RFC
// 8417) that says the same as r, as one JSON object, to be signed by the caller
// with typ secevent+jwt. transmitter is its iss, audience its aud, which must
// never be the audience of access tokens (RFC 8417 §4.2). FromSET is the exact
// inverse.
//
// CAEP has no event for a single token, a client, a key or an issuer; they are
// session-revoked events whose subject is a jwt_id, an application, an opaque
// key ID or a URI, and whose member "quash" says so.
func (r Revocation) SET(transmitter, audience string) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if err := r.checkAudit(); err != nil {
		return nil, err
	}
	if err := checkName("transmitter", transmitter); err != nil {
		return nil, err
	}
	at := r.At
	if at.IsZero() {
		at = r.Before
	}
	ext := setExtension{Scope: r.Scope, Issuer: r.Issuer, Key: r.Key, MinGen: r.Gen, RetainUntil: ceil(r.Until).Unix(), Actor: r.Actor}
	if !r.Before.IsZero() {
		before := r.Before.Unix()
		ext.Before = &before
	}
	if !r.At.IsZero() {
		ms := r.At.UnixMilli()
		ext.At = &ms
	}
	event := setEvent{Timestamp: max(at.Unix(), 0), Initiating: r.By, Quash: ext}
	if r.Reason != "" {
		event.Reason = map[string]string{"en": r.Reason}
	}
	return json.Marshal(setClaims{
		Issuer: transmitter, ID: r.ID, IssuedAt: event.Timestamp, Audience: audience, Txn: r.Txn,
		Subject: r.subject(), Events: map[string]setEvent{caepSessionRevoked: event},
	})
}

// subject names what r is about in the terms of RFC 9493 and SSF.
func (r *Revocation) subject() subjectID {
	switch r.Scope {
	case Token:
		return subjectID{Format: "jwt_id", Issuer: r.Issuer, JTI: r.Key}
	case Session:
		return subjectID{Format: "complex", Session: &subjectID{Format: "opaque", ID: r.Key}}
	case Subject:
		return subjectID{Format: "iss_sub", Issuer: r.Issuer, Sub: r.Key}
	case Client:
		return subjectID{Format: "complex", Application: &subjectID{Format: "opaque", ID: r.Key}}
	case Key:
		return subjectID{Format: "opaque", ID: r.Key}
	default:
		return subjectID{Format: "uri", URI: r.Issuer}
	}
}

// seconds returns an instant in whole seconds.
func seconds(n int64) time.Time { return time.Unix(n, 0).UTC() }
