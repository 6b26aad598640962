package issuer

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

// signingKey is one key of the directory; its file is <kid>.pem and the file's time is the key's age.
type signingKey struct {
	kid     string
	alg     string
	private crypto.Signer
	created time.Time
	retired time.Time // zero: it may sign
}

// keyring holds the keys of the directory. All that are not revoked are published; of those that are not retired the newest that
// verifiers have had time to learn signs.
type keyring struct {
	dir   string
	alg   string
	delay time.Duration
	now   func() time.Time
	user  int // whose process this is

	changing sync.Mutex // one change of the directory at a time, of this replica
	loading  sync.Mutex // an older reading must not replace a newer one

	mu      sync.RWMutex // guards what follows
	keys    []signingKey // newest first
	revoked map[string]bool
	notes   map[string]time.Time // about revoked keys, whose files may be gone
	set     []byte               // the JWK Set, encoded
}

func method(alg string) (jwt.SigningMethod, error) {
	switch alg {
	case "ES256":
		return jwt.SigningMethodES256, nil
	case "RS256":
		return jwt.SigningMethodRS256, nil
	case "EdDSA":
		return jwt.SigningMethodEdDSA, nil
	}
	return nil, fmt.Errorf("%q is not ES256, RS256 or EdDSA", alg)
}

// openKeys reads the directory, and makes it if there is none. Until begin there may be no key.
func openKeys(dir, alg string, delay time.Duration, now func() time.Time) (*keyring, error) {
	return openKeysAs(os.Geteuid(), dir, alg, delay, now)
}

func openKeysAs(user int, dir, alg string, delay time.Duration, now func() time.Time) (*keyring, error) {
	k := &keyring{user: user, dir: dir, alg: alg, delay: delay, now: now, revoked: map[string]bool{}, notes: map[string]time.Time{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: KeysDir: %w", ErrConfig, err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: KeysDir: %w", ErrConfig, err)
	}
	if info.Mode().Perm()&0o002 != 0 {
		return nil, fmt.Errorf("%w: KeysDir: everybody may put keys into %s: chmod o-w it, and look for keys that are not yours", ErrConfig, dir)
	}
	if whose := stranger(info, user); whose != "" {
		return nil, fmt.Errorf("%w: KeysDir: %s %s that user may put keys into it: chown it and what is in it to user %d, and look for keys that are not yours; or run as its owner", ErrConfig, dir, whose, user)
	}
	return k, k.load()
}

// begin makes a first key if none of the algorithm may sign, now or later.
func (k *keyring) begin() error {
	k.changing.Lock()
	defer k.changing.Unlock()
	if err := k.load(); err != nil {
		return err
	}
	usable := k.usable()
	if slices.ContainsFunc(usable, func(s signingKey) bool { return s.alg == k.alg }) {
		return nil
	}
	if len(usable) > 0 {
		_, err := k.succeed(usable[0].kid)
		return err
	}
	return k.revive()
}

const keySuffix = ".pem"

// load reads the directory again. On an error the keys read before stay in use.
func (k *keyring) load() error {
	k.loading.Lock()
	defer k.loading.Unlock()
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return fmt.Errorf("%w: KeysDir: %w", ErrConfig, err)
	}
	var keys []signingKey
	for _, e := range entries {
		if e.IsDir() || !strings.HasSuffix(e.Name(), keySuffix) {
			continue
		}
		key, err := readKey(filepath.Join(k.dir, e.Name()), k.user)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err == nil {
			key.retired, err = readRetired(k.path(key.kid, retiredSuffix))
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrKey, filepath.Join(k.dir, e.Name()), err)
		}
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b signingKey) int {
		if c := b.created.Compare(a.created); c != 0 {
			return c
		}
		return strings.Compare(a.kid, b.kid)
	})
	k.readNotes(entries)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = keys
	return k.publish()
}

// publish encodes the JWK Set; the lock is held.
func (k *keyring) publish() error {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, s := range k.keys {
		if !k.revoked[s.kid] {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: s.private.Public(), KeyID: s.kid, Algorithm: s.alg, Use: "sig"})
		}
	}
	text, err := json.Marshal(set)
	if err != nil {
		return fmt.Errorf("encode the key set: %w", err)
	}
	k.set = text
	return nil
}

var errNoKey = errors.New("no signing key left")

// signer returns the key that signs now: the newest one that is old enough, else the oldest.
func (k *keyring) signer() (signingKey, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	var best *signingKey
	for n := range k.keys {
		s := &k.keys[n]
		if k.revoked[s.kid] || !s.retired.IsZero() {
			continue
		}
		best = s
		if k.now().Sub(s.created) >= k.delay {
			break
		}
	}
	if best == nil {
		return signingKey{}, errNoKey
	}
	return *best, nil
}

// public finds a published key by its kid.
func (k *keyring) public(kid string) (signingKey, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, s := range k.keys {
		if s.kid == kid && !k.revoked[kid] {
			return s, true
		}
	}
	return signingKey{}, false
}

// algorithms of the published keys.
func (k *keyring) algorithms() []string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	var algs []string
	for _, s := range k.keys {
		if !k.revoked[s.kid] && !slices.Contains(algs, s.alg) {
			algs = append(algs, s.alg)
		}
	}
	return algs
}

func (k *keyring) has(kid string) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return slices.ContainsFunc(k.keys, func(s signingKey) bool { return s.kid == kid })
}

func (k *keyring) jwks() []byte {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.set
}

// revoke takes a key out of use for good; if no other may sign, a new one is made, and signs at once. It may be repeated, and
// makes the new one then if it could not be stored before.
func (k *keyring) revoke(kid string) error {
	k.mu.Lock()
	known := k.revoked[kid]
	k.revoked[kid] = true
	err := k.publish()
	k.mu.Unlock()
	if err != nil {
		return err
	}
	if _, none := k.signer(); known && none == nil {
		return nil
	}
	k.changing.Lock()
	defer k.changing.Unlock()
	if err := k.load(); err != nil { // another replica may have made the new one
		return err
	}
	if _, err := k.signer(); err != nil {
		if !k.has(kid) {
			kid = firstKey // anybody's text is no name of a file
		}
		_, err = k.succeed(kid)
		return err
	}
	return nil
}

func (k *keyring) isRevoked(kid string) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.revoked[kid]
}

func (k *keyring) all() []signingKey {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return slices.Clone(k.keys)
}

// make puts a new key into the directory, which is not one of its keys yet.
func (k *keyring) make() (kid string, err error) {
	private, kid, err := generate(k.alg)
	if err != nil {
		return "", fmt.Errorf("generate a signing key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", fmt.Errorf("encode the signing key: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Headers: map[string]string{
		"Created": k.now().UTC().Format(time.RFC3339Nano)}, Bytes: der})
	if err := linkFile(k.path(kid, madeSuffix), text); err != nil {
		return "", fmt.Errorf("%w: KeysDir: store the signing key: %w", ErrConfig, err)
	}
	return kid, nil
}
