package buskeys

import (
	"errors"
	"fmt"

	"github.com/nats-io/nkeys"
)

// NewUser makes an nkey user: the seed is its secret, the public key its name on the
// bus.
func NewUser() (seed []byte, public string, err error) {
	k, err := nkeys.CreateUser()
	if err != nil {
		return nil, "", fmt.Errorf("make an nkey: %w", err)
	}
	defer k.Wipe()
	if seed, err = k.Seed(); err != nil {
		return nil, "", fmt.Errorf("make an nkey: %w", err)
	}
	if public, err = k.PublicKey(); err != nil {
		return nil, "", fmt.Errorf("make an nkey: %w", err)
	}
	return append(seed, '\n'), public, nil
}

// PublicUser is the public key of a seed.
func PublicUser(seed []byte) (string, error) {
	k, err := nkeys.ParseDecoratedNKey(seed)
	if err != nil {
		return "", errors.New("it holds no nkey seed") // the parser's words may quote the seed
	}
	defer k.Wipe()
	public, err := k.PublicKey()
	if err != nil || !nkeys.IsValidPublicUserKey(public) {
		return "", errors.New("its seed is not that of a user (SU…)")
	}
	return public, nil
}
