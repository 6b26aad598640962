package verifier

import (
	"context"
	"fmt"

	"github.com/quash-auth/quash/internal/jws"
)

// Verify checks a token and returns it if it may be accepted now.
//
// Order: length, form and header; the memo, or claims and signature; times; the denylist; freshness. The error wraps
// ErrInvalid and one of its kinds, or is ErrStale if the token cannot be judged now. A one-time token is ErrOnce: see Redeem.
// The only I/O is for a kid that the
// issuer's key set does not hold: one fetch for all who wait for it, ended for each by its own ctx.
//
// A Token is shared by all callers with the same text.
func (v *Verifier) Verify(ctx context.Context, raw string) (*Token, error) {
	return v.verify(ctx, raw, v.rule, false)
}

// VerifyWithin is Verify with another rule of freshness, for handlers that need a tighter one or can bear a looser one.
// Before the first sync no rule lets anything through.
func (v *Verifier) VerifyWithin(ctx context.Context, raw string, f FreshnessRule) (*Token, error) {
	rule, err := f.resolve(v.rule)
	if err != nil {
		return nil, err
	}
	return v.verify(ctx, raw, rule, false)
}

// verify judges a one-time token, or any other one. Neither kind passes for the other.
func (v *Verifier) verify(ctx context.Context, raw string, rule FreshnessRule, once bool) (*Token, error) {
	if len(raw) > v.maxBytes {
		return nil, v.counters.refuse(errTooLong)
	}
	e, seen := v.remembered(raw)
	if !seen {
		var err error
		if e, err = v.examine(ctx, raw); err != nil {
			return nil, v.counters.refuse(err)
		}
	}
	switch {
	case e.token.Once && !once:
		return nil, v.counters.refuse(errOnce)
	case once && !e.token.Once:
		return nil, v.counters.refuse(errNotOnce)
	case once && e.token.ID == "":
		return nil, v.counters.refuse(errNoID)
	}
	now := v.now()
	if !e.window.holds(now) {
		return nil, v.counters.refuse(timeError(e.token, e.window, now, v.life, v.leeway))
	}
	if !seen && !once {
		v.remember(raw, e)
	}
	stale, err := v.judge(&e.token.ref, rule, now)
	if err != nil {
		return nil, v.counters.refuse(err)
	}
	v.counters.accept(stale)
	return e.token, nil
}

// examine does everything that is the same whenever the token is seen: form, header, claims, signature.
func (v *Verifier) examine(ctx context.Context, raw string) (*verified, error) {
	p, err := jws.Split(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	alg, ok := jws.AlgByName(p.Header.Alg)
	if !ok || !v.anyAlg.Has(alg) {
		return nil, errAlgorithm
	}
	// The claims come before the signature because iss chooses the key.
	claims, err := parseClaims(p.Payload)
	if err != nil {
		return nil, err
	}
	iss := v.issuers[claims.iss]
	if iss == nil {
		return nil, noIssuer(&claims)
	}
	if err := iss.check(&p.Header, &claims); err != nil {
		return nil, err
	}
	if !iss.allowed.Has(alg) {
		return nil, errAlgorithm
	}
	w, err := claims.window(v.life, v.leeway)
	if err != nil {
		return nil, err
	}
	set, k, err := iss.keys.find(ctx, p.Header.KeyID)
	if err != nil {
		return nil, err
	}
	if !k.Algs.Has(alg) {
		return nil, errKeyAlgorithm
	}
	if err := k.Verify(alg, p.Signed, p.Signature); err != nil {
		return nil, errSignature
	}
	t := claims.token(iss.name, p.Header.Typ, k.ID, p.Payload)
	t.by, t.ref, t.until = v, v.ref(t.claims()), w.to
	iss.saw(t)
	return &verified{token: t, issuer: iss, key: k, kid: p.Header.KeyID, set: set, window: w}, nil
}

var (
	errTooLong      = fmt.Errorf("%w: longer than MaxTokenBytes", ErrMalformed)
	errJSON         = fmt.Errorf("%w: not a strict JSON object", ErrMalformed)
	errAlgorithm    = fmt.Errorf("%w by the configuration", ErrAlgorithm)
	errKeyAlgorithm = fmt.Errorf("%w: the key is for another one", ErrAlgorithm)
	errSignature    = fmt.Errorf("%w", ErrSignature)
	errIssuer       = fmt.Errorf("%w: iss is not exactly one of the configured", ErrIssuer)
	errAudience     = fmt.Errorf("%w: aud names none of the configured", ErrAudience)
	errTyp          = fmt.Errorf("%w: typ", ErrType)
)
