package issuer

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Beside <kid>.pem the directory holds, for all replicas:
//
//	<kid>.retired  the instant since when the key signs no more; it is removed when no token that it signed can be alive
//	<kid>.made     a key that was made to follow another, before it is known whether it does
//	<kid>.revoked  the key was revoked; stays when it is removed (keynote.go)
//	<kid>.next     the kid of the key that follows it: of replicas that rotate at once only one can make this file
//
// Each step is one atomic change of the directory and what is left to do can be read from it, so a crash between steps costs
// nothing: the next round of any replica goes on.
const (
	retiredSuffix = ".retired"
	madeSuffix    = ".made"
	nextSuffix    = ".next"
	firstKey      = "first" // whose successor the first key is
	orphanAge     = time.Hour
)

func (k *keyring) path(kid, suffix string) string { return filepath.Join(k.dir, kid+suffix) }

// usable keys may sign now or later, the newest first.
func (k *keyring) usable() []signingKey {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return slices.DeleteFunc(slices.Clone(k.keys), func(s signingKey) bool { return k.revoked[s.kid] || !s.retired.IsZero() })
}

func (k *keyring) mature(s signingKey) bool { return k.now().Sub(s.created) >= k.delay }

// rotate publishes a new key, which signs when it is old enough, unless such a key is waiting already.
func (k *keyring) rotate() (kid string, err error) {
	k.changing.Lock()
	defer k.changing.Unlock()
	if err := k.load(); err != nil {
		return "", err
	}
	signs, err := k.signer()
	if err != nil {
		if err := k.revive(); err != nil {
			return "", err
		}
		signs, err = k.signer()
		return signs.kid, err
	}
	newest := k.usable()[0]
	if newest.kid != signs.kid {
		return newest.kid, nil
	}
	return k.succeed(newest.kid)
}

// succeed makes the key that follows another. If another replica has made one, that is it: nobody sees a key before it is
// known to be the one, or somebody would sign with a key that is then thrown away. changing is held.
func (k *keyring) succeed(of string) (kid string, err error) {
	made, err := k.make()
	if err != nil {
		return "", err
	}
	defer os.Remove(k.path(made, madeSuffix)) //nolint:errcheck // if it follows, it has another name by then
	claim := k.path(of, nextSuffix)
	for range 3 {
		err := linkFile(claim, []byte(made))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("%w: KeysDir: store which key follows: %w", ErrConfig, err)
		}
		text, err := os.ReadFile(claim)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("%w: KeysDir: %w", ErrConfig, err)
		}
		kid = strings.TrimSpace(string(text))
		// Whoever made it may have crashed here, so everybody does it.
		if err := os.Rename(k.path(kid, madeSuffix), k.path(kid, keySuffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("%w: KeysDir: publish the signing key: %w", ErrConfig, err)
		}
		if err := k.load(); err != nil {
			return "", err
		}
		if slices.ContainsFunc(k.usable(), func(s signingKey) bool { return s.kid == kid }) {
			return kid, syncDir(k.dir)
		}
		if err := os.Remove(claim); err != nil && !errors.Is(err, fs.ErrNotExist) { // that key was revoked or retired, or is gone
			return "", fmt.Errorf("%w: KeysDir: %w", ErrConfig, err)
		}
	}
	return "", fmt.Errorf("%w: KeysDir: no key could be published", ErrConfig)
}

// revive makes a key, which signs at once, if none may. Two replicas can each take the other's last one out of signing. The new key
// follows the newest, on which all replicas agree. changing is held.
func (k *keyring) revive() error {
	if _, err := k.signer(); err == nil {
		return nil
	}
	of := firstKey
	if all := k.all(); len(all) > 0 {
		of = all[0].kid
	}
	_, err := k.succeed(of)
	return err
}

var (
	errUnknownKey = errors.New("no such key is in the directory")
	errLastKey    = errors.New("no other key may sign yet")
)

// retire takes a key out of signing. It stays published.
func (k *keyring) retire(kid string) error {
	k.changing.Lock()
	defer k.changing.Unlock()
	if err := k.load(); err != nil {
		return err
	}
	if !k.has(kid) {
		return errUnknownKey
	}
	others := slices.DeleteFunc(k.usable(), func(s signingKey) bool { return s.kid == kid })
	if len(others) == len(k.usable()) {
		return nil // retired or revoked
	}
	if !slices.ContainsFunc(others, k.mature) {
		if signs, err := k.signer(); err != nil || signs.kid == kid {
			return errLastKey
		}
	}
	if err := errors.Join(k.markRetired(kid), k.load()); err != nil {
		return err
	}
	return k.revive()
}

func (k *keyring) markRetired(kid string) error {
	err := linkFile(k.path(kid, retiredSuffix), []byte(k.now().UTC().Format(time.RFC3339Nano)))
	if err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	return fmt.Errorf("%w: KeysDir: retire a key: %w", ErrConfig, err)
}

// tidy does what is due: it starts a rotation if every has passed since the last, makes a key if none may sign, retires keys
// that a newer one has taken over from and keys that were revoked, and removes retired ones at the instant that removal gives
// for them. Any replica may do it at any time.
func (k *keyring) tidy(every time.Duration, removal func(retired time.Time) time.Time, log *slog.Logger) error {
	if every > 0 {
		if usable := k.usable(); len(usable) > 0 && k.now().Sub(usable[0].created) >= every {
			kid, err := k.rotate()
			if err != nil {
				return err
			}
			log.Info("key rotation begun", "kid", kid)
		}
	}
	k.changing.Lock()
	defer k.changing.Unlock()
	if err := k.load(); err != nil {
		return err
	}
	if _, err := k.signer(); err != nil {
		log.Warn("no key may sign: making one, which signs at once")
	}
	if err := k.revive(); err != nil {
		return err
	}
	signs, err := k.signer()
	if err != nil {
		return err
	}
	for _, s := range k.all() {
		superseded := s.kid != signs.kid && s.created.Before(signs.created) && k.mature(signs)
		switch {
		case s.retired.IsZero() && (superseded || k.isRevoked(s.kid)):
			if err := k.markRetired(s.kid); err != nil {
				return err
			}
			log.Info("key retired", "kid", s.kid, "signs_now", signs.kid)
		case !s.retired.IsZero() && s.kid != signs.kid && !k.now().Before(removal(s.retired)):
			if err := k.remove(s.kid); err != nil {
				return err
			}
			log.Info("key removed: no token that it signed is alive", "kid", s.kid)
		}
	}
	return errors.Join(k.sweep(), k.load())
}

// remove the key first: what is left after a crash names a key that is gone, and sweep takes it away.
func (k *keyring) remove(kid string) error {
	var failed error
	for _, suffix := range []string{keySuffix, retiredSuffix, nextSuffix} {
		if err := os.Remove(k.path(kid, suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, fmt.Errorf("%w: KeysDir: remove a key: %w", ErrConfig, err))
		}
	}
	return failed
}

// sweep removes what crashes left: notes about keys that are gone, and half-written files, which may be private keys.
func (k *keyring) sweep() error {
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return fmt.Errorf("%w: KeysDir: %w", ErrConfig, err)
	}
	for _, e := range entries {
		name := e.Name()
		kid, isNote := strings.CutSuffix(name, retiredSuffix)
		if !isNote {
			kid, isNote = strings.CutSuffix(name, nextSuffix)
		}
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < orphanAge || !info.Mode().IsRegular() {
			continue // gone, or somebody is at it
		}
		if isNote && kid != firstKey && !k.has(kid) || strings.HasPrefix(name, tempPrefix) || strings.HasSuffix(name, madeSuffix) {
			if err := os.Remove(filepath.Join(k.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%w: KeysDir: %w", ErrConfig, err)
			}
		}
	}
	return nil
}
