package verifier

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quash-auth/quash/events"
)

// Redeemer uses up one-time tokens: of all calls for one token, on all nodes, it may return nil once. *events.Redeemer is one.
type Redeemer interface {
	// Redeem returns nil if this call won, events.ErrRedeemed if the token was used before, any other error if that could
	// not be found out. iat is the zero time if the token has none.
	Redeem(ctx context.Context, iss, jti string, iat, exp time.Time) error
}

var (
	errOnce      = fmt.Errorf("%w: it is good for one request, which only Redeem and HTTPConfig.OneTime accept", ErrOnce)
	errNotOnce   = fmt.Errorf("%w: it lacks the claim once", ErrOnce)
	errUsed      = fmt.Errorf("%w", ErrUsed)
	errNoID      = claimsError("jti", "is missing: a one-time token needs a name")
	errNoRedeems = configError("Redeemer", "is missing: without NATS nobody decides who was first")
)

// Redeem verifies a one-time token (typ once+jwt, claim once true) as Verify does, and then uses it up. It returns the token to exactly
// one of all callers on all nodes that follow the same stream; the others get ErrUsed. Call it when nothing else
// can refuse the request any more, for what it used up stays used up.
//
// Unlike Verify it asks NATS, once, for an answer that nobody can know beforehand. Errors are those of Verify, ErrOnce for a
// token that is not a one-time token, and ErrStale if NATS does not answer in time: the token may then still be good.
func (v *Verifier) Redeem(ctx context.Context, raw string) (*Token, error) {
	t, err := v.verify(ctx, raw, v.rule, true)
	if err != nil {
		return nil, err
	}
	if err := v.spend(ctx, t); err != nil {
		return nil, err
	}
	return t, nil
}

// spend uses up a token that was verified.
func (v *Verifier) spend(ctx context.Context, t *Token) error {
	if v.redeemer == nil {
		return errNoRedeems
	}
	if err := v.redeemer.Redeem(ctx, t.Issuer, t.ID, t.IssuedAt, t.Expires); err != nil {
		if errors.Is(err, events.ErrRedeemed) {
			return v.counters.refuse(errUsed)
		}
		return v.counters.refuse(fmt.Errorf("%w: %w", ErrStale, err))
	}
	v.counters.redeemed.Add(1)
	// The answer took a while, and a statement may have come meanwhile.
	if _, err := v.judge(&t.ref, v.rule, v.now()); errors.Is(err, ErrRevoked) {
		return v.counters.refuse(err)
	}
	return nil
}
