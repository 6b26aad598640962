package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// credential is a demo user with the password in clear: it is printed.
type credential struct {
	name, password string
}

// credentials are the two demo users: one without any right, and an operator.
type credentials struct {
	user, admin credential
	fresh       bool // not what the file said: a user that exists needs the new password
}

// loadCredentials reads the file, or makes random passwords. user, if not nil,
// replaces the plain user. What is fresh must be saved once the users have it, so
// that a restart without the flag prints the same commands.
func loadCredentials(path string, user *credential) (credentials, error) {
	var c credentials
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		if c, err = parseCredentials(string(text)); err != nil {
			return credentials{}, fmt.Errorf("reading %s: %w; mend the file or remove it to get new passwords", path, err)
		}
	case errors.Is(err, fs.ErrNotExist):
		c = credentials{
			user:  credential{"demo", randomPassword()},
			admin: credential{"admin", randomPassword()},
			fresh: true,
		}
	default:
		return credentials{}, fmt.Errorf("reading the demo users: %w", err)
	}
	if user != nil && *user != c.user {
		c.user, c.fresh = *user, true
	}
	if c.user.name == c.admin.name {
		return credentials{}, usagef("--demo-user", "%s is the operator's name: choose another", c.user.name)
	}
	return c, nil
}

func (c credentials) save(path string) error {
	return writeFile(path, fmt.Sprintf("%s:%s\n%s:%s\n", c.user.name, c.user.password, c.admin.name, c.admin.password))
}

// writeFile replaces the file in one step, so that a crash leaves the old or the
// new one.
func writeFile(path, text string) error {
	// A new file under a random name, 0600: a link planted under a known one would
	// lead the passwords elsewhere.
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("writing the demo users: %w", err)
	}
	_, err = tmp.WriteString(text)
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return fmt.Errorf("writing the demo users: %w", err)
	}
	return nil
}

func parseCredentials(text string) (credentials, error) {
	var c credentials
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) != 2 {
		return c, fmt.Errorf("it has %d lines instead of two of the form NAME:PASSWORD", len(lines))
	}
	for i, to := range []*credential{&c.user, &c.admin} {
		name, password, ok := strings.Cut(lines[i], ":")
		if !ok || name == "" || password == "" {
			return c, fmt.Errorf("line %d is not NAME:PASSWORD", i+1)
		}
		*to = credential{name, password}
	}
	return c, nil
}

// randomPassword has 120 bits, in characters that need no quoting anywhere.
func randomPassword() string {
	b := make([]byte, 15)
	rand.Read(b) //nolint:errcheck // never fails since Go 1.24
	return strings.NewReplacer("-", "x", "_", "y").Replace(base64.RawURLEncoding.EncodeToString(b))
}
