package verifier

import (
	"fmt"
	"time"
)

// window is when a token is accepted: from (inclusive) to (exclusive), in seconds and nanoseconds of the node's clock.
type window struct{ from, to time.Time }

// window checks what does not depend on the clock and computes the rest.
//
// The lifetime is bounded twice. exp − iat, both the issuer's, is what makes it safe that the stream forgets a
// statement. exp − now bounds what a token without iat can claim.
func (c *claimSet) window(life, leeway time.Duration) (window, error) {
	exp := time.Unix(c.exp, 0)
	if c.has&hasIat != 0 && exp.Sub(time.Unix(c.iat, 0)) > life {
		return window{}, fmt.Errorf("%w: exp is %v after iat, MaxTokenLife is %v", ErrLifetime, exp.Sub(time.Unix(c.iat, 0)), life)
	}
	w := window{from: exp.Add(-life - leeway), to: exp.Add(leeway)}
	if c.has&hasIat != 0 {
		w.from = later(w.from, time.Unix(c.iat, 0).Add(-leeway))
	}
	if c.has&hasNbf != 0 {
		w.from = later(w.from, time.Unix(c.nbf, 0).Add(-leeway))
	}
	return w, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (w window) holds(now time.Time) bool { return !now.Before(w.from) && now.Before(w.to) }

// timeError says why now is outside of w.
func timeError(t *Token, w window, now time.Time, life, leeway time.Duration) error {
	switch {
	case !now.Before(w.to):
		return fmt.Errorf("%w: exp was %v ago", ErrExpired, now.Sub(t.Expires).Round(time.Second))
	case !t.NotBefore.IsZero() && now.Before(t.NotBefore.Add(-leeway)):
		return fmt.Errorf("%w: nbf is in %v", ErrNotYet, t.NotBefore.Sub(now).Round(time.Second))
	case !t.IssuedAt.IsZero() && now.Before(t.IssuedAt.Add(-leeway)):
		return fmt.Errorf("%w: iat is in %v", ErrNotYet, t.IssuedAt.Sub(now).Round(time.Second))
	}
	return fmt.Errorf("%w: exp is in %v, MaxTokenLife is %v", ErrLifetime, t.Expires.Sub(now).Round(time.Second), life)
}
