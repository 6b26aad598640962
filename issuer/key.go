package issuer

import (
	"errors"
	"fmt"
	"time"
)

// KeyState is where a signing key is in its life.
type KeyState string

// The states, in the order in which a key goes through them.
const (
	// KeyWaiting: published, so that verifiers learn it; it signs from SignsAt.
	KeyWaiting KeyState = "waiting"
	// KeySigning: it signs.
	KeySigning KeyState = "signing"
	// KeyRetired: it signs no more and is published until RemovedAt, when no token that it signed is alive.
	KeyRetired KeyState = "retired"
	// KeyRevoked: its tokens are refused everywhere, and it is not published.
	KeyRevoked KeyState = "revoked"
)

// Key is a signing key of the directory, without its secret.
type Key struct {
	// ID is the kid, its RFC 7638 thumbprint.
	ID string
	// Algorithm is ES256, RS256 or EdDSA.
	Algorithm string
	State     KeyState
	Created   time.Time
	// SignsAt is set while it waits.
	SignsAt time.Time
	// RetiredAt and RemovedAt are set when it signs no more.
	RetiredAt, RemovedAt time.Time
}

var (
	// ErrNoKey: the directory holds no key of this ID.
	ErrNoKey = errors.New("issuer: no such key")
	// ErrLastKey: no other key may sign yet. Rotate first and wait until the new key signs; or revoke.
	ErrLastKey = errors.New("issuer: the only key that may sign")
)

// Keys lists the directory, the newest first. Error: ErrKey, ErrConfig.
func (i *Issuer) Keys() ([]Key, error) {
	if err := i.keys.load(); err != nil {
		return nil, err
	}
	signs, _ := i.keys.signer()
	var keys []Key
	for _, s := range i.keys.all() {
		k := Key{ID: s.kid, Algorithm: s.alg, State: KeyWaiting, Created: s.created, RetiredAt: s.retired}
		switch {
		case i.keys.isRevoked(s.kid):
			k.State = KeyRevoked
		case !s.retired.IsZero() || s.kid != signs.kid && s.created.Before(signs.created):
			k.State = KeyRetired
		case s.kid == signs.kid:
			k.State = KeySigning
		default:
			k.SignsAt = s.created.Add(i.keys.delay)
		}
		if !s.retired.IsZero() {
			k.RemovedAt = i.keyRemoval(s.retired)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func (i *Issuer) key(kid string) (Key, error) {
	keys, err := i.Keys()
	if err != nil {
		return Key{}, err
	}
	for _, k := range keys {
		if k.ID == kid {
			return k, nil
		}
	}
	return Key{}, ErrNoKey
}

// RotateKey publishes a new key. It signs after Config.KeyDelay; then Run retires the others, on whatever replica, and removes them
// when no token that they signed is alive. While a new key waits, RotateKey returns that one, also if another replica made
// it. Error: ErrKey, ErrConfig.
func (i *Issuer) RotateKey() (Key, error) {
	kid, err := i.keys.rotate()
	if err != nil {
		return Key{}, err
	}
	return i.key(kid)
}

// RetireKey makes a key sign no more, on this replica at once and on the others within a RepairInterval, and leaves it
// published until no token that it signed is alive. Tokens stay valid: Revoke with scope key ends them. It may be repeated.
// Errors: ErrNoKey, ErrLastKey, ErrKey, ErrConfig.
func (i *Issuer) RetireKey(kid string) (Key, error) {
	switch err := i.keys.retire(kid); {
	case errors.Is(err, errUnknownKey):
		return Key{}, ErrNoKey
	case errors.Is(err, errLastKey):
		return Key{}, fmt.Errorf("%w: rotate, and retire this one when the new one signs", ErrLastKey)
	case err != nil:
		return Key{}, err
	}
	return i.key(kid)
}

// keyRemoval is when no token of a key that was retired then is alive anywhere: other replicas may have signed with it until they
// read the directory again.
func (i *Issuer) keyRemoval(retired time.Time) time.Time {
	return i.retention.Until(retired.Add(2*i.cfg.RepairInterval + time.Minute))
}

func (i *Issuer) tidyKeys() error {
	return i.keys.tidy(i.cfg.KeyRotateEvery, i.keyRemoval, i.log)
}
