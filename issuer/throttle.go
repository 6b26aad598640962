package issuer

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
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

// throttle counts wrong passwords, for all replicas together. An attempt takes a token before the password is looked at and
// anything but a wrong password gives it back, so guessing in parallel gains nothing, and neither a success nor our own
// "busy" costs.
//
//   - Names that exist and names that do not share a fixed number of counters, by hash: the bucket cannot be flooded until it
//     forgets, and being throttled says nothing about a name. Emptying a counter takes as many wrong passwords as any
//     other, each at the price of a hash, so nobody can empty more than a few of them at once.
//   - Whoever guesses can keep an account's counter empty. So the pair of an account and an address from which its owner has
//     logged in has tokens of its own (peers.go): nobody can lock her out from elsewhere.
//   - An address that fails with many accounts is slowed by a counter of its own (address.go), more than one account is: one
//     address alone cannot keep an account's counter empty.
type throttle struct {
	b         *bucket
	turns     *turns
	pace      pace
	addresses *addresses
	now       func() time.Time
}

// pace is a token bucket's: so many at once, then one more at each interval.
type pace struct {
	burst float64
	every time.Duration
}

const (
	throttleSlots  = 1 << 16             // of counters: some 10 MiB if all are in use
	throttleMemory = 90 * 24 * time.Hour // how long an owner's address is remembered; sessions last 30 days by default
)

// tokens is one counter.
type tokens struct {
	Left float64 `json:"left"`
	At   int64   `json:"at"` // ms
}

// take n tokens, or give them if n is negative. The error is a *ThrottledError.
func (l pace) take(v *tokens, n float64, now time.Time) error {
	if passed := now.Sub(time.UnixMilli(v.At)); passed > 0 {
		v.Left = min(v.Left+float64(passed)/float64(l.every), l.burst)
		v.At = now.UnixMilli()
	}
	if left := v.Left - n; left < 0 {
		return &ThrottledError{After: time.Duration(-left * float64(l.every))}
	}
	v.Left = min(v.Left-n, l.burst)
	return nil
}

func throttleHash(parts ...string) []byte {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return h.Sum(nil)
}

func throttleKey(kind string, parts ...string) string {
	return kind + "." + short64(throttleHash(parts...)[:16])
}

// slotKey is the counter that a name shares with others.
func slotKey(account string) string {
	return fmt.Sprintf("a.%04x", binary.BigEndian.Uint32(throttleHash(account))%throttleSlots)
}

// attempt is a granted one. Exactly one of fail, spare and success ends it.
type attempt struct {
	t                *throttle
	account, address string
	pair             bool // took a token of the pair, not of account and address
}

// take grants an attempt or returns a *ThrottledError. Known and unknown names cost the same.
func (t *throttle) take(ctx context.Context, account, address string) (*attempt, error) {
	a := &attempt{t: t, account: account, address: address}
	var err error
	if a.pair, err = t.takePair(ctx, account, address, 1); a.pair || err != nil {
		return a, err
	}
	if err := t.addresses.take(address, 1); err != nil {
		return nil, err
	}
	if err := t.add(ctx, slotKey(account), 1); err != nil {
		_ = t.addresses.take(address, -1) // giving never fails
		return nil, err
	}
	return a, nil
}

// spare gives everything back: no password was judged.
func (a *attempt) spare(ctx context.Context) error {
	if a.pair {
		_, err := a.t.takePair(ctx, a.account, a.address, -1)
		return err
	}
	_ = a.t.addresses.take(a.address, -1) // giving never fails
	return a.t.add(ctx, slotKey(a.account), -1)
}

// success gives everything back and remembers that the account's owner comes from this address.
func (a *attempt) success(ctx context.Context) error {
	err := a.spare(ctx)
	if a.pair {
		return err
	}
	return errors.Join(err, a.t.remember(ctx, a.account, a.address))
}

// add takes n tokens of a shared counter.
func (t *throttle) add(ctx context.Context, key string, n float64) error {
	return t.update(ctx, key, func(r record) ([]byte, error) {
		v := tokens{t.pace.burst, t.now().UnixMilli()}
		if r.exists() {
			if err := r.decode(kindTokens, field{name: "left", into: &v.Left}, field{name: "at", into: &v.At}); err != nil {
				return nil, err
			}
		}
		if err := t.pace.take(&v, n, t.now()); err != nil {
			return nil, err
		}
		return encodeRecord(kindTokens, key, v)
	})
}

// update is a compare-and-set of one record; change returns nil for none.
func (t *throttle) update(ctx context.Context, key string, change func(record) ([]byte, error)) error {
	done, err := t.turns.take(ctx, key) // here they would only make each other's compare-and-set fail
	if err != nil {
		return err
	}
	defer done()
	for range 16 {
		r, err := t.b.get(ctx, key)
		if err != nil {
			return err
		}
		value, err := change(r)
		if err != nil || value == nil {
			return err
		}
		if _, err = t.b.put(ctx, write{key: key, value: value, revision: r.revision}); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return &ThrottledError{After: time.Second} // so many attempts at once that none gets through
}

func short64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
