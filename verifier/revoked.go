package verifier

import (
	"fmt"
	"time"

	"github.com/quash-auth/quash/cache"
	"github.com/quash-auth/quash/events"
)

// Claims are the verified claims of a token, for Revoked. Fields the token lacks stay empty.
type Claims struct {
	Issuer   string    // iss. Required
	ID       string    // jti
	Session  string    // sid
	Subject  string    // sub
	Client   string    // client_id, else azp
	KeyID    string    // kid of the key that signed it
	IssuedAt time.Time // iat; zero: none, and then every statement with a cutoff covers the token
	Gen      uint64    // gen
	HasGen   bool      // whether the token has gen
	Once     bool      // once; such a token is refused with ErrOnce: only Redeem can accept it
}

// RevokedError says which kind of statement covers a token. It wraps ErrRevoked. It is for the logs of the host: the
// bearer is not told.
type RevokedError struct {
	Scope events.Scope
	// Sequence is where in the stream such a statement is; 0 if that was forgotten.
	Sequence uint64
}

func (e *RevokedError) Error() string {
	if e.Sequence == 0 {
		return fmt.Sprintf("%v by %s", ErrRevoked, e.Scope)
	}
	return fmt.Sprintf("%v by %s, statement %d", ErrRevoked, e.Scope, e.Sequence)
}

func (e *RevokedError) Unwrap() error { return ErrRevoked }

// Revoked asks the denylist alone, for hosts that verify tokens by other means. The claims must have been verified, and the
// host must refuse tokens without exp and tokens that live longer than MaxTokenLife, as Verify does: statements are
// forgotten when no such token can be alive.
//
// It returns nil, ErrRevoked, ErrOnce, ErrStale by the verifier's own rule of freshness, or ErrClaims if the claims name nothing that
// can be looked up. It does no I/O.
func (v *Verifier) Revoked(c Claims) error {
	if c.Issuer == "" {
		return v.counters.refuse(claimsError("iss", "is empty: a statement is always about the tokens of an issuer"))
	}
	if c.Once {
		return v.counters.refuse(errOnce)
	}
	if c.ID == "" && c.Session == "" && c.Subject == "" && c.Client == "" && c.KeyID == "" {
		return v.counters.refuse(claimsError("jti, sid, sub, client_id and kid", "are all empty"))
	}
	ref := v.ref(c)
	stale, err := v.judge(&ref, v.rule, v.now())
	if err != nil {
		return v.counters.refuse(err)
	}
	v.counters.accept(stale)
	return nil
}

func (v *Verifier) ref(c Claims) cache.Ref {
	own := cache.Claims{
		Issuer: c.Issuer, ID: c.ID, Session: c.Session, Subject: c.Subject, Client: c.Client, KeyID: c.KeyID,
		Gen: c.Gen, HasGen: c.HasGen,
	}
	if !c.IssuedAt.IsZero() {
		own.IssuedAt, own.HasIssuedAt = c.IssuedAt.Unix(), true
	}
	return v.deny.Ref(own)
}

// judge is the verdict over a token whose signature and times are good: denylist first, then freshness, so that a revoked
// token is revoked even when nothing else can be told. stale says that the view was too old and the rule allows it.
//
// The age of the view is taken before the look-up: the view that was looked into is at least as new.
func (v *Verifier) judge(ref *cache.Ref, rule FreshnessRule, now time.Time) (stale bool, err error) {
	seen := v.feed.Freshness(now)
	verdict := v.deny.Check(ref)
	if v.closed.Load() {
		return false, errClosed // a closed denylist answers revoked to everything
	}
	if verdict.Revoked {
		return false, &RevokedError{events.Scope(verdict.Scope), verdict.Sequence}
	}
	if stale, err = rule.stale(seen); err != nil {
		return stale, err
	}
	return stale, v.retention()
}

var errClosed = fmt.Errorf("%w: the verifier was stopped", ErrStale)
