package issuer

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"
)

// ThrottledError says how long to wait; it is ErrThrottled.
type ThrottledError struct{ After time.Duration }

func (e *ThrottledError) Error() string {
	return fmt.Sprintf("issuer: too many attempts, wait %v", e.After)
}

// Unwrap makes it ErrThrottled.
func (e *ThrottledError) Unwrap() error { return ErrThrottled }

// throttle counts wrong passwords per account, for all replicas together, in a bounded bucket. An
// attempt takes a token before the password is looked at and a success gives it back, so guessing in parallel
// gains nothing. Whoever guesses can keep the account's tokens at zero, so an address from which the account's owner
// has logged in has tokens of its own: nobody can lock her out from elsewhere.
type throttle struct {
	b     *bucket
	burst float64
	every time.Duration
	now   func() time.Time
}

const (
	throttleBytes  = 32 << 20
	throttleMemory = 24 * time.Hour // how long a quiet account or address is remembered
)

type tokens struct {
	Left float64 `json:"left"`
	At   int64   `json:"at"` // ms
}

func throttleKey(kind string, parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return kind + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

// take grants an attempt or returns a *ThrottledError. The key is for give.
func (t *throttle) take(ctx context.Context, account, address string) (key string, err error) {
	known := throttleKey("p", account, address)
	r, err := t.b.get(ctx, known)
	if err != nil {
		return "", err
	}
	key = known
	if !r.exists() {
		key = throttleKey("a", account)
	}
	return key, t.add(ctx, key, -1)
}

// give returns the attempt's token after a success and remembers the address.
func (t *throttle) give(ctx context.Context, key, account, address string) error {
	if err := t.add(ctx, key, 1); err != nil {
		return err
	}
	known := throttleKey("p", account, address)
	if key == known {
		return nil
	}
	value, err := encodeRecord(kindTokens, known, tokens{t.burst, t.now().UnixMilli()})
	if err != nil {
		return err
	}
	_, err = t.b.put(ctx, write{key: known, value: value, revision: anyRevision})
	return err
}

func (t *throttle) add(ctx context.Context, key string, n float64) error {
	for range 16 {
		r, err := t.b.get(ctx, key)
		if err != nil {
			return err
		}
		now := t.now()
		v := tokens{t.burst, now.UnixMilli()}
		if r.exists() {
			if err := r.decode(kindTokens, field{name: "left", into: &v.Left}, field{name: "at", into: &v.At}); err != nil {
				return err
			}
		}
		if passed := now.Sub(time.UnixMilli(v.At)); passed > 0 {
			v.Left += float64(passed) / float64(t.every)
			v.At = now.UnixMilli()
		}
		v.Left = min(v.Left+n, t.burst)
		if v.Left < 0 {
			return &ThrottledError{After: time.Duration(-v.Left * float64(t.every))}
		}
		value, err := encodeRecord(kindTokens, key, v)
		if err != nil {
			return err
		}
		if _, err = t.b.put(ctx, write{key: key, value: value, revision: r.revision}); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return &ThrottledError{After: time.Second} // so many attempts at once that none gets through
}
