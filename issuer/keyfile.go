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
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/quash-auth/quash/internal/owner"
)

const tempPrefix = ".new-"

// linkFile stores durably, never shows a half-written file under the name, and only if nobody has taken the name: of two at
// once one wins, the other gets fs.ErrExist.
func linkFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix+"*") // 0600
	if err != nil {
		return fileError(path, err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // sweep would
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fileError(path, err)
	}
	if err := os.Link(f.Name(), path); err != nil {
		return fileError(path, err)
	}
	return syncDir(filepath.Dir(path))
}

// fileError names the file that was to be, not one whose name is another each time: what fails in the same way is said once.
func fileError(path string, err error) error {
	if inner := (*fs.PathError)(nil); errors.As(err, &inner) {
		err = inner.Err
	} else if inner := (*os.LinkError)(nil); errors.As(err, &inner) {
		err = inner.Err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// warnKeysDir: the files are 0600, but whoever may write to their directory can put a key of his own into it, and
// take ours away.
func (i *Issuer) warnKeysDir() {
	info, err := os.Stat(i.cfg.KeysDir)
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		i.log.Warn("others than the issuer may list or change the directory of the signing keys: chmod 700 it", "dir", i.cfg.KeysDir,
			"mode", fmt.Sprintf("%#o", info.Mode().Perm()))
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readRetired reads the note beside a retired key; zero if there is none. A note that cannot be read retires the key as of
// its file's time: somebody wanted it.
func readRetired(path string) (time.Time, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	if at, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(string(text))); err == nil && !at.IsZero() {
		return at, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// generate makes a key whose ID no command line takes for a flag.
func generate(alg string) (private crypto.Signer, kid string, err error) {
	for kid == "" || kid[0] == '-' {
		switch alg {
		case "RS256":
			private, err = rsa.GenerateKey(rand.Reader, 2048)
		case "EdDSA":
			_, private, err = ed25519.GenerateKey(rand.Reader)
		default:
			private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		}
		if err != nil {
			return nil, "", err
		}
		if kid, err = thumbprint(private.Public()); err != nil {
			return nil, "", err
		}
	}
	return private, kid, nil
}

// keyAdvice is what an operator does about a file that is no key.
const keyAdvice = ": restore the file from a backup, or move it out of the directory"

// stranger is whose the file is, if it is neither the process's user's nor root's.
func stranger(info os.FileInfo, user int) string {
	if uid, known := owner.Of(info); known && uid != user && uid != 0 {
		return fmt.Sprintf("belongs to user %d, this process to user %d:", uid, user)
	}
	return ""
}

// readKey checks that the file is what create wrote: nobody else may read it, and its name is the key's thumbprint.
func readKey(path string, user int) (signingKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return signingKey{}, err
	}
	if !info.Mode().IsRegular() {
		return signingKey{}, errors.New("is not a regular file" + keyAdvice)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return signingKey{}, fmt.Errorf("others may read it (mode %#o): chmod 600 it, and revoke the key if somebody did", info.Mode().Perm())
	}
	if whose := stranger(info, user); whose != "" {
		return signingKey{}, fmt.Errorf("it %s that user may read it: chown it to user %d, and revoke the key if it is not yours alone; or run as its owner", whose, user)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return signingKey{}, err
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" || len(strings.TrimSpace(string(rest))) > 0 {
		return signingKey{}, errors.New("is not one PEM block PRIVATE KEY" + keyAdvice)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return signingKey{}, errors.New("is not a PKCS #8 private key" + keyAdvice) // the parser's text could quote the key
	}
	k := signingKey{created: info.ModTime()}
	if c, err := time.Parse(time.RFC3339Nano, block.Headers["Created"]); err == nil {
		k.created = c
	}
	switch p := parsed.(type) {
	case *ecdsa.PrivateKey:
		if p.Curve != elliptic.P256() {
			return signingKey{}, errors.New("is an EC key of another curve than P-256" + keyAdvice)
		}
		k.alg, k.private = "ES256", p
	case *rsa.PrivateKey:
		if p.N.BitLen() < 2048 {
			return signingKey{}, errors.New("is an RSA key below 2048 bit" + keyAdvice)
		}
		k.alg, k.private = "RS256", p
	case ed25519.PrivateKey:
		k.alg, k.private = "EdDSA", p
	default:
		return signingKey{}, fmt.Errorf("is a key of the unsupported type %T%s", parsed, keyAdvice)
	}
	if k.kid, err = thumbprint(k.private.Public()); err != nil {
		return signingKey{}, err
	}
	if want := k.kid + ".pem"; filepath.Base(path) != want {
		return signingKey{}, fmt.Errorf("its name is not its key's thumbprint: rename it to %s", want)
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
