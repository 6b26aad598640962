package issuer

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/quash-auth/quash/cache"
	"github.com/quash-auth/quash/events"
)

// <kid>.revoked beside the keys says that one of them was revoked. It stays when the key's file goes: the file may come back from a
// backup, with records that are as old.
const revokedSuffix = ".revoked"

// readNotes takes in what the directory says of revoked keys. That there is a note is enough, whatever it is; its text says when, and is read once.
func (k *keyring) readNotes(entries []fs.DirEntry) {
	notes := map[string]time.Time{}
	for _, e := range entries {
		kid, ok := strings.CutSuffix(e.Name(), revokedSuffix)
		if !ok || kid == "" {
			continue
		}
		k.mu.RLock()
		at, known := k.notes[kid]
		k.mu.RUnlock()
		if !known {
			at = k.noted(kid)
		}
		notes[kid] = at
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.notes = notes
	for kid := range notes {
		k.revoked[kid] = true
	}
}

// noted is when a key was revoked; now, if the note does not say it.
func (k *keyring) noted(kid string) time.Time {
	now := k.now()
	info, err := os.Stat(k.path(kid, revokedSuffix))
	if err != nil || !info.Mode().IsRegular() || info.Size() > 2*int64(len(time.RFC3339Nano)) {
		return now // a pipe would have us wait for who writes to it
	}
	text, err := os.ReadFile(k.path(kid, revokedSuffix))
	if err != nil {
		return now
	}
	if at, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(string(text))); err == nil && at.Before(now) {
		return at
	}
	return now
}

// note leaves one about a key of the directory.
func (k *keyring) note(kid string) error {
	if !k.has(kid) {
		return nil // anybody's text is no name of a file
	}
	now := k.now()
	err := linkFile(k.path(kid, revokedSuffix), []byte(now.UTC().Format(time.RFC3339Nano)))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: KeysDir: note that a key was revoked: %w", ErrConfig, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.notes[kid] = now
	return nil
}

// takenOut are the keys of the directory that were revoked, and when, if there is a note about it.
func (k *keyring) takenOut() map[string]time.Time {
	k.mu.RLock()
	defer k.mu.RUnlock()
	out := maps.Clone(k.notes)
	for _, s := range k.keys {
		if _, noted := k.notes[s.kid]; !noted && k.revoked[s.kid] {
			out[s.kid] = time.Time{}
		}
	}
	return out
}

// ours: its file is in the directory, or was when it was revoked.
func (k *keyring) ours(kid string) bool {
	k.mu.RLock()
	_, noted := k.notes[kid]
	k.mu.RUnlock()
	return noted || k.has(kid)
}

// loadRevokedKeys: a revoked key stays out of use for good, although its statement is forgotten one day. That there is a record
// is enough, whatever it says; so is a note beside the keys, where the records are older than that.
func (i *Issuer) loadRevokedKeys(ctx context.Context) error {
	prefix := markKey(events.Key, "")
	marks, err := i.store.keys(ctx, prefix+"*")
	if err != nil {
		return err
	}
	for kid, noted := range i.keys.takenOut() {
		if noted.IsZero() {
			continue // from a mark
		}
		if err := i.keys.revoke(kid); err != nil {
			return err
		}
	}
	var foreign error
	for _, m := range marks {
		kid, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(m, prefix))
		if err != nil {
			foreign = errors.Join(foreign, badRecord(m, errors.New("names no key")))
			continue
		}
		if err := i.keys.revoke(string(kid)); err != nil {
			return err
		}
	}
	return foreign
}

// revokeKnown takes keys out of use that the ledger says were revoked: the records and the directory may be older, and nothing is
// to be signed or published with them until the stream has said it too.
func (i *Issuer) revokeKnown() error {
	for _, s := range i.keys.all() {
		if _, ok := i.deny.Lookup(cache.Key, i.cfg.Issuer, s.kid); ok {
			if err := i.keys.revoke(s.kid); err != nil {
				return err
			}
		}
	}
	return nil
}
