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

// throttle counts wrong passwords, for all replicas together. An attempt takes a token before anybody is told about the password,
// and anything but a wrong password gives it back, so guessing in parallel gains nothing, and neither a success nor our
// own "busy" costs (attempt.go).
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

// add takes n tokens of a shared counter, or gives them if n is negative.
func (t *throttle) add(ctx context.Context, key string, n float64) error {
	_, err := t.count(ctx, counter{key: key}, n)
	return err
}

func (t *throttle) count(ctx context.Context, c counter, n float64) (*record, error) {
	return t.update(ctx, c, func(r record) ([]byte, error) {
		v := tokens{t.pace.burst, t.now().UnixMilli()}
		if r.exists() {
			if err := r.decode(kindTokens, field{name: "left", into: &v.Left}, field{name: "at", into: &v.At}); err != nil {
				return nil, err
			}
		}
		if err := t.pace.take(&v, n, t.now()); err != nil {
			return nil, err
		}
		return encodeRecord(kindTokens, c.key, v)
	})
}

// counter is a record to be changed.
type counter struct {
	key  string
	last *record // as it was when we last saw it, which spares reading it; nil: unknown
	seen func()  // called when there is something to take, before it is taken; nil: nobody waits for that
}

// update is a compare-and-set of one record; change returns nil for none. It returns the record as it is then.
func (t *throttle) update(ctx context.Context, c counter, change func(record) ([]byte, error)) (*record, error) {
	done, err := t.turns.take(ctx, c.key) // here they would only make each other's compare-and-set fail
	if err != nil {
		return nil, err
	}
	defer done()
	r := c.last
	for range 16 {
		if r == nil {
			now, err := t.b.get(ctx, c.key)
			if err != nil {
				return nil, err
			}
			r = &now
		}
		value, err := change(*r)
		if err != nil || value == nil {
			return r, err
		}
		if c.seen != nil {
			c.seen()
		}
		revision, err := t.b.put(ctx, write{key: c.key, value: value, revision: r.revision})
		if err == nil {
			return &record{c.key, value, revision}, nil
		}
		if r = nil; !errors.Is(err, ErrConflict) {
			return nil, err
		}
	}
	return nil, &ThrottledError{After: time.Second} // so many attempts at once that none gets through
}

func short64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
