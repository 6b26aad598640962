package issuer

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/argon2"
)

// Argon2 is the cost of an Argon2id hash (RFC 9106).
type Argon2 struct {
	// Memory in KiB; 0 is 19456.
	Memory uint32
	// Time is the number of passes; 0 is 2.
	Time uint32
	// Threads is the number of lanes; 0 is 1.
	Threads uint8
}

// String is how a PHC string writes it.
func (a Argon2) String() string { return fmt.Sprintf("m=%d,t=%d,p=%d", a.Memory, a.Time, a.Threads) }

func (a Argon2) complete() (Argon2, error) {
	if a.Memory == 0 {
		a.Memory = 19456
	}
	if a.Time == 0 {
		a.Time = 2
	}
	if a.Threads == 0 {
		a.Threads = 1
	}
	return a, a.check()
}

// check bounds the cost: a record must not make the issuer compute for minutes or fill the memory.
func (a Argon2) check() error {
	switch {
	case a.Memory < 8*uint32(a.Threads) || a.Memory > 4<<20:
		return errors.New("memory is out of range")
	case a.Time < 1 || a.Time > 64:
		return errors.New("time is out of range")
	case a.Threads < 1:
		return errors.New("threads is out of range")
	}
	return nil
}

// Passwords are 1 to 1024 bytes; policy beyond that is the caller's.
const maxPassword = 1024

type phc struct {
	Argon2
	salt, sum []byte
}

func (p phc) String() string {
	return fmt.Sprintf("$argon2id$v=%d$%s$%s$%s", argon2.Version, p.Argon2,
		base64.RawStdEncoding.EncodeToString(p.salt), base64.RawStdEncoding.EncodeToString(p.sum))
}

// parsePHC reads $argon2id$v=19$m=19456,t=2,p=1$salt$hash.
func parsePHC(s string) (phc, error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return phc{}, errors.New("is not an Argon2id PHC string")
	}
	var p phc
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.Memory, &p.Time, &p.Threads); n != 3 || err != nil ||
		parts[3] != p.Argon2.String() {
		return phc{}, errors.New("has unreadable Argon2id parameters")
	}
	if err := p.check(); err != nil {
		return phc{}, fmt.Errorf("has Argon2id parameters out of range: %w", err)
	}
	var err1, err2 error
	p.salt, err1 = base64.RawStdEncoding.Strict().DecodeString(parts[4])
	p.sum, err2 = base64.RawStdEncoding.Strict().DecodeString(parts[5])
	// The decoder skips line breaks, which a hash does not have.
	if err1 != nil || err2 != nil || p.String() != s || len(p.salt) < 8 || len(p.sum) < 16 || len(p.sum) > 64 {
		return phc{}, errors.New("has an unreadable salt or hash")
	}
	return p, nil
}

// passwords computes hashes, few at a time: each takes tens of milliseconds and megabytes.
type passwords struct {
	cost    Argon2
	slots   chan struct{}
	waiting atomic.Int64
	most    int64
	decoy   phc // compared for users that do not exist
	kdf     func(password, salt []byte, time, memory uint32, threads uint8, size uint32) []byte
}

func newPasswords(cost Argon2, workers int) *passwords {
	return &passwords{
		cost: cost, slots: make(chan struct{}, workers), most: 8 * int64(workers),
		decoy: phc{cost, random(16), random(32)}, kdf: argon2.IDKey,
	}
}

var errBusy = fmt.Errorf("%w: too many passwords to check", ErrUnavailable)

func (p *passwords) acquire(ctx context.Context) error {
	if p.waiting.Add(1) > p.most {
		p.waiting.Add(-1)
		return errBusy
	}
	defer p.waiting.Add(-1)
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return errBusy
	}
}

func (p *passwords) release() { <-p.slots }

func (p *passwords) hash(ctx context.Context, password string) (string, error) {
	if password == "" || len(password) > maxPassword {
		return "", fmt.Errorf("%w: Password: must be 1 to %d bytes", ErrUser, maxPassword)
	}
	if err := p.acquire(ctx); err != nil {
		return "", err
	}
	defer p.release()
	return p.make(password), nil
}

func (p *passwords) make(password string) string {
	h := phc{Argon2: p.cost, salt: random(16)}
	h.sum = p.kdf([]byte(password), h.salt, h.Time, h.Memory, h.Threads, 32)
	return h.String()
}

// HashPassword returns the PasswordHash of a password, for stores of users that fill themselves. A zero cost is the default.
// It takes tens of milliseconds. Error: ErrUser.
func HashPassword(password string, cost Argon2) (string, error) {
	cost, err := cost.complete()
	if err != nil {
		return "", fmt.Errorf("%w: Argon2: %w", ErrUser, err)
	}
	return newPasswords(cost, 1).hash(context.Background(), password)
}

// matches compares with the stored hash; an empty or unreadable one costs the same and never matches.
func (p *passwords) matches(ctx context.Context, stored, password string) (bool, error) {
	h, err := parsePHC(stored)
	known := err == nil
	if !known {
		h = p.decoy
	}
	if err := p.acquire(ctx); err != nil {
		return false, err
	}
	defer p.release()
	sum := p.kdf([]byte(password), h.salt, h.Time, h.Memory, h.Threads, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(sum, h.sum) == 1 && known, nil
}
