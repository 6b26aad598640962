package issuer_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/issuer"
)

func TestKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	c := &clock{}
	first, n, err := issuer.LoadKeys(dir, "ES256", time.Minute, c.now)
	if err != nil || n != 1 {
		t.Fatalf("empty directory: got %d keys %v, want one made", n, err)
	}
	file := filepath.Join(dir, first+".pem")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("got %v %v, want %s with mode 0600", info, err, file)
	}
	if again, n, err := issuer.LoadKeys(dir, "ES256", time.Minute, c.now); err != nil || again != first || n != 1 {
		t.Errorf("second start: got %s %d %v, want the same key", again, n, err)
	}
	c.advance(time.Hour)
	if signer, n, err := issuer.LoadKeys(dir, "EdDSA", time.Minute, c.now); err != nil || signer != first || n != 2 {
		t.Errorf("another algorithm: got signer %s of %d %v, want the old key until the new one is known", signer, n, err)
	}
	c.advance(time.Hour)
	if signer, n, err := issuer.LoadKeys(dir, "EdDSA", time.Minute, c.now); err != nil || signer == first || n != 2 {
		t.Errorf("later: got signer %s of %d %v, want the new key", signer, n, err)
	}

	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func() error{
		"truncated":  func() error { return os.WriteFile(file, good[:len(good)/2], 0o600) },
		"empty":      func() error { return os.WriteFile(file, nil, 0o600) },
		"two blocks": func() error { return os.WriteFile(file, append(good[:len(good):len(good)], good...), 0o600) },
		"bad base64": func() error {
			return os.WriteFile(file, []byte(strings.Replace(string(good), "MIG", "MIA", 1)), 0o600)
		},
		"readable by others": func() error { return errors.Join(os.WriteFile(file, good, 0o600), os.Chmod(file, 0o644)) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		_, _, err := issuer.LoadKeys(dir, "ES256", time.Minute, c.now)
		if !errors.Is(err, issuer.ErrKey) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: got %v, want ErrKey naming %s", name, err, file)
		} else if text := err.Error(); !strings.Contains(text, "restore the file") && !strings.Contains(text, "chmod 600") {
			t.Errorf("%s: got %v, want what to do about it", name, err)
		}
		if err := errors.Join(os.WriteFile(file, good, 0o600), os.Chmod(file, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(file, filepath.Join(dir, "other.pem")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := issuer.LoadKeys(dir, "ES256", time.Minute, c.now); !errors.Is(err, issuer.ErrKey) || !strings.Contains(err.Error(), first) {
		t.Errorf("wrong name: got %v, want ErrKey with the right name", err)
	}
}

// TestRevokedKey never signs again, also not after a restart, and a new one takes over.
func TestRevokedKey(t *testing.T) {
	nats := server(t)
	r := start(t, nats.URL())
	other := startWith(t, nats.URL(), r.cfg)
	r.user("root", issuer.ScopeAdmin)
	r.user("ann")
	admin, s := r.login("root"), r.login("ann")
	kid := issuer.KeyID(r.Issuer, s.Access)
	if a := r.revoke(admin.Access, "key", kid); a.status != 200 {
		t.Fatalf("revoke: got %d %s", a.status, a.raw)
	}
	r.dead("a token of the key", s.Access)
	until(t, "the other replica signs with the new key", func() bool {
		a := patient(t, func() answer { return other.refresh(s.Refresh) })
		s = a
		return a.status == 200 && issuer.KeyID(other.Issuer, a.Access) != kid && issuer.Verify(r.Issuer, a.Access) == nil
	})
	other.stop()
	r.stop()
	r = startWith(t, nats.URL(), r.cfg)
	if a := r.login("ann"); issuer.KeyID(r.Issuer, a.Access) == kid {
		t.Error("after a restart the revoked key signs again")
	}
}

func TestConfig(t *testing.T) {
	nc := server(t).Connect(t)
	good := issuer.Config{Issuer: "https://issuer.example", Audience: []string{"api"}, Conn: nc, KeysDir: filepath.Join(t.TempDir(), "k"), EnsureStream: true}
	for field, change := range map[string]func(*issuer.Config){
		"Issuer":          func(c *issuer.Config) { c.Issuer = "" },
		"Issuer:":         func(c *issuer.Config) { c.Issuer = "http://issuer.example" },
		"Issuer: ":        func(c *issuer.Config) { c.Issuer = "https://issuer.example/?a" },
		"Audience":        func(c *issuer.Config) { c.Audience = nil },
		"Conn":            func(c *issuer.Config) { c.Conn = nil },
		"KeysDir":         func(c *issuer.Config) { c.KeysDir = "" },
		"KeysDir:":        func(c *issuer.Config) { c.KeysDir = "/dev/null/keys" },
		"Algorithm":       func(c *issuer.Config) { c.Algorithm = "HS256" },
		"AccessLife":      func(c *issuer.Config) { c.AccessLife = 2 * time.Hour; c.RefreshIdle = 3 * time.Hour },
		"RefreshIdle":     func(c *issuer.Config) { c.RefreshIdle = time.Minute },
		"RefreshAbsolute": func(c *issuer.Config) { c.RefreshAbsolute = time.Hour },
		"ReuseGrace":      func(c *issuer.Config) { c.ReuseGrace = time.Hour },
		"Replicas":        func(c *issuer.Config) { c.Replicas = 7 },
		"Bucket":          func(c *issuer.Config) { c.Bucket = "a.b" },
		"Clients[0]":      func(c *issuer.Config) { c.Clients = []issuer.Client{{ID: "x"}} },
		"Clients[1]":      func(c *issuer.Config) { c.Clients = []issuer.Client{{ID: "x", Public: true}, {ID: "x", Public: true}} },
		"Argon2":          func(c *issuer.Config) { c.Argon2.Memory = 1 },
		"LoginBurst":      func(c *issuer.Config) { c.LoginBurst = -1 },
		"Timeout":         func(c *issuer.Config) { c.Timeout = -1 },
	} {
		c := good
		change(&c)
		_, err := issuer.New(t.Context(), c)
		if !errors.Is(err, issuer.ErrConfig) || !strings.Contains(err.Error(), strings.TrimRight(field, ": ")) {
			t.Errorf("%s: got %v, want ErrConfig naming it", field, err)
		}
	}
}
