package buskeys_test

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/internal/buskeys"
)

func parse(t *testing.T, text []byte) *x509.Certificate {
	t.Helper()
	b, _ := pem.Decode(text)
	if b == nil {
		t.Fatalf("%q is not PEM", text)
	}
	c, err := x509.ParseCertificate(b.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAuthority(t *testing.T) {
	t.Parallel()
	now := time.Now()
	a, err := buskeys.NewAuthority("a", now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := a.PEM()
	if err != nil {
		t.Fatal(err)
	}
	again, err := buskeys.ReadAuthority(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parse(t, cert))
	for name, by := range map[string]*buskeys.Authority{"as made": a, "read again": again} {
		server, _, err := by.Issue(buskeys.Leaf{Name: "s", Hosts: []string{"nats.example", "127.0.0.1"}, Now: now, Expiry: now.Add(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		client, _, err := by.Issue(buskeys.Leaf{Name: "c", Now: now, Expiry: now.Add(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		as := func(use x509.ExtKeyUsage, host string) x509.VerifyOptions {
			return x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use}}
		}
		for _, host := range []string{"nats.example", "127.0.0.1"} {
			if _, err := parse(t, server).Verify(as(x509.ExtKeyUsageServerAuth, host)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := parse(t, server).Verify(as(x509.ExtKeyUsageServerAuth, "other.example")); err == nil {
			t.Errorf("%s: a certificate is good for another host", name)
		}
		if _, err := parse(t, client).Verify(as(x509.ExtKeyUsageClientAuth, "")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := parse(t, client).Verify(as(x509.ExtKeyUsageServerAuth, "")); err == nil {
			t.Errorf("%s: a client's certificate is good for a server", name)
		}
	}
	other, err := buskeys.NewAuthority("b", now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	_, otherKey, err := other.PEM()
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string][]byte{"another's key": otherKey, "no key": nil, "text": []byte("secret-text")} {
		if _, err := buskeys.ReadAuthority(cert, k); err == nil || strings.Contains(err.Error(), "secret-text") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestUser(t *testing.T) {
	t.Parallel()
	seed, public, err := buskeys.NewUser()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := buskeys.PublicUser(seed); err != nil || got != public {
		t.Errorf("got %s, %v, want %s", got, err, public)
	}
	for _, bad := range []string{"", "SUAX", string(seed[:20])} {
		if _, err := buskeys.PublicUser([]byte(bad)); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

func TestWriteSecret(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "seed")
	for _, text := range []string{"first", "2"} {
		if err := buskeys.WriteSecret(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		info, serr := os.Stat(path)
		if err != nil || serr != nil || string(got) != text || info.Mode().Perm() != 0o600 {
			t.Errorf("got %q, mode %v, %v, %v", got, info.Mode(), err, serr)
		}
	}
	if err := buskeys.WriteSecret(filepath.Join(path, "below"), nil); err == nil {
		t.Error("a file was written below a file")
	}
}
