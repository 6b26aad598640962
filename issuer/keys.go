package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
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
}

// keyring holds the keys of the directory. All are published; the newest that verifiers have had time to learn signs.
type keyring struct {
	dir   string
	alg   string
	delay time.Duration
	now   func() time.Time

	mu      sync.RWMutex // guards what follows
	keys    []signingKey // newest first
	revoked map[string]bool
	set     []byte // the JWK Set, encoded
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

// openKeys reads the directory and creates it and a first key if there is none.
func openKeys(dir, alg string, delay time.Duration, now func() time.Time) (*keyring, error) {
	k := &keyring{dir: dir, alg: alg, delay: delay, now: now, revoked: map[string]bool{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: KeysDir: %w", ErrConfig, err)
	}
	if err := k.load(); err != nil {
		return nil, err
	}
	if slices.Contains(k.algorithms(), alg) {
		return k, nil
	}
	return k, k.create()
}

// load reads the directory again. On an error the keys read before stay in use.
func (k *keyring) load() error {
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return fmt.Errorf("%w: KeysDir: %w", ErrConfig, err)
	}
	var keys []signingKey
	for _, e := range entries {
		if e.IsDir() || !strings.HasSuffix(e.Name(), ".pem") {
			continue
		}
		key, err := readKey(filepath.Join(k.dir, e.Name()))
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
		if k.revoked[s.kid] {
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

// revoke takes a key out of use for good; if it was the last, a new one is created.
func (k *keyring) revoke(kid string) error {
	k.mu.Lock()
	known := k.revoked[kid]
	k.revoked[kid] = true
	err := k.publish()
	k.mu.Unlock()
	if err != nil || known {
		return err
	}
	if _, err := k.signer(); err != nil {
		return k.create()
	}
	return nil
}

// create makes a new key in the directory.
func (k *keyring) create() error {
	private, err := generate(k.alg)
	if err != nil {
		return fmt.Errorf("generate a signing key: %w", err)
	}
	kid, err := thumbprint(private.Public())
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return fmt.Errorf("encode the signing key: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Headers: map[string]string{
		"Created": k.now().UTC().Format(time.RFC3339Nano)}, Bytes: der})
	if err := writeFile(filepath.Join(k.dir, kid+".pem"), text); err != nil {
		return fmt.Errorf("%w: KeysDir: store the signing key: %w", ErrConfig, err)
	}
	return k.load()
}

// writeFile stores durably and never shows a half-written file under the final name.
func writeFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // gone after the rename
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func generate(alg string) (crypto.Signer, error) {
	switch alg {
	case "RS256":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "EdDSA":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// readKey checks that the file is what create wrote: nobody else may read it, and its name is the key's thumbprint.
func readKey(path string) (signingKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return signingKey{}, err
	}
	if !info.Mode().IsRegular() {
		return signingKey{}, errors.New("is not a regular file")
	}
	if info.Mode().Perm()&0o077 != 0 {
		return signingKey{}, fmt.Errorf("others may read it (mode %#o): chmod 600", info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return signingKey{}, err
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" || len(strings.TrimSpace(string(rest))) > 0 {
		return signingKey{}, errors.New("is not one PEM block PRIVATE KEY")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return signingKey{}, errors.New("is not a PKCS #8 private key") // the parser's text could quote the key
	}
	k := signingKey{created: info.ModTime()}
	if c, err := time.Parse(time.RFC3339Nano, block.Headers["Created"]); err == nil {
		k.created = c
	}
	switch p := parsed.(type) {
	case *ecdsa.PrivateKey:
		if p.Curve != elliptic.P256() {
			return signingKey{}, errors.New("is an EC key of another curve than P-256")
		}
		k.alg, k.private = "ES256", p
	case *rsa.PrivateKey:
		if p.N.BitLen() < 2048 {
			return signingKey{}, errors.New("is an RSA key below 2048 bit")
		}
		k.alg, k.private = "RS256", p
	case ed25519.PrivateKey:
		k.alg, k.private = "EdDSA", p
	default:
		return signingKey{}, fmt.Errorf("is a key of the unsupported type %T", parsed)
	}
	if k.kid, err = thumbprint(k.private.Public()); err != nil {
		return signingKey{}, err
	}
	if want := k.kid + ".pem"; filepath.Base(path) != want {
		return signingKey{}, fmt.Errorf("its name is not its key's thumbprint, want %s", want)
	}
	return k, nil
}

// thumbprint is the RFC 7638 kid.
func thumbprint(public crypto.PublicKey) (string, error) {
	jwk := jose.JSONWebKey{Key: public}
	sum, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("compute the key's thumbprint: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}
