package verifier_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/verifier"
)

// TestPeerBug25_ConfigTypo: a wrong configuration must be an error that names the field, never a weaker verifier.
func TestPeerBug25_ConfigTypo(t *testing.T) {
	t.Parallel()
	weak := rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	issuer := func(change func(*verifier.Issuer)) func(*verifier.Config) {
		return func(c *verifier.Config) { change(&c.Issuers[0]) }
	}
	keys := func(list ...verifier.PublicKey) func(*verifier.Config) {
		return issuer(func(i *verifier.Issuer) { i.Keys = list })
	}
	url := func(address string) func(*verifier.Config) {
		return issuer(func(i *verifier.Issuer) { i.Keys, i.JWKSURL = nil, address })
	}
	jwksFile := func(path string) func(*verifier.Config) {
		return issuer(func(i *verifier.Issuer) { i.Keys, i.JWKSFile = nil, path })
	}
	for _, test := range []struct {
		field  string
		change func(*verifier.Config)
	}{
		{"Issuers ", func(c *verifier.Config) { c.Issuers = nil }},
		{"NATS ", func(c *verifier.Config) { c.Feed = nil }},
		{"Feed ", func(c *verifier.Config) { c.NATS = &nats.Conn{} }},
		{"MaxStaleness ", func(c *verifier.Config) { c.MaxStaleness = -1 }},
		{"OnStale ", func(c *verifier.Config) { c.OnStale = 2 }},
		{"OnUndecodable ", func(c *verifier.Config) { c.OnUndecodable = 2 }},
		{"MaxTokenLife ", func(c *verifier.Config) { c.MaxTokenLife = -time.Hour }},
		{"Leeway ", func(c *verifier.Config) { c.MaxTokenLife, c.Leeway = time.Minute, time.Minute }},
		{"MaxTokenBytes ", func(c *verifier.Config) { c.MaxTokenBytes = -1 }},
		{"MaxEntries ", func(c *verifier.Config) { c.MaxEntries = -1 }},
		{"DetailBytes ", func(c *verifier.Config) { c.DetailBytes = -1 }},
		{"Issuers[1].Issuer ", func(c *verifier.Config) { c.Issuers[1].Issuer = issA }},
		{"Issuers[0].Issuer ", issuer(func(i *verifier.Issuer) { i.Issuer = "" })},
		{"Issuers[0].Issuer ", issuer(func(i *verifier.Issuer) { i.Issuer = strings.Repeat("x", 513) })},
		{"Issuers[0].Audience ", issuer(func(i *verifier.Issuer) { i.Audience = nil })},
		{"Issuers[0].Audience ", issuer(func(i *verifier.Issuer) { i.Audience = []string{api, ""} })},
		{"Issuers[0].Algorithms ", issuer(func(i *verifier.Issuer) { i.Algorithms = []string{"es256"} })},
		{"Issuers[0].Algorithms ", issuer(func(i *verifier.Issuer) { i.Algorithms = []string{"ES256", "none"} })},
		{"Issuers[0].Algorithms ", issuer(func(i *verifier.Issuer) { i.Algorithms = []string{"ES256", "HS256"} })},
		{"Issuers[0].Profile ", issuer(func(i *verifier.Issuer) { i.Profile = 2 })},
		{"Issuers[0].Refresh ", issuer(func(i *verifier.Issuer) { i.Refresh = -1 })},
		{"Issuers[0].AllowHTTP ", issuer(func(i *verifier.Issuer) { i.AllowHTTP = true })},
		{"Issuers[0] ", issuer(func(i *verifier.Issuer) { i.Keys = nil })},
		{"Issuers[0] ", issuer(func(i *verifier.Issuer) { i.JWKSURL = "https://a.example/jwks" })},
		{"Issuers[0].JWKSURL ", url("http://a.example/jwks")},
		{"Issuers[0].JWKSURL ", url("http://127.0.0.1.example/jwks")},
		{"Issuers[0].JWKSURL ", url("ftp://a.example/jwks")},
		{"Issuers[0].JWKSURL ", url("a.example/jwks")},
		{"Issuers[0].JWKSURL ", url("https://user:pass@a.example/jwks")},
		{"Issuers[0].JWKSURL ", url("https://[::1")},
		{"Issuers[0].JWKSFile ", jwksFile(filepath.Join(dir, "absent"))},
		{"Issuers[0].JWKSFile ", jwksFile(dir)},
		{"Issuers[0].JWKSFile ", jwksFile(file("empty", ""))},
		{"Issuers[0].JWKSFile ", jwksFile(file("broken", `{"keys":[`))},
		{"Issuers[0].JWKSFile ", jwksFile(file("none", `{"keys":[]}`))},
		{"Issuers[0].JWKSFile ", jwksFile(file("typo", `{"Keys":[]}`))},
		{"Issuers[0].JWKSFile ", jwksFile(file("useless", `{"keys":[{"kty":"oct","k":"AAAA","kid":"x"}]}`))},
		{"Issuers[0].Keys[0].Key ", keys(verifier.PublicKey{ID: "a1"})},
		{"Issuers[0].Keys[0] ", keys(verifier.PublicKey{ID: "a1", Key: "text"})},
		{"Issuers[0].Keys[0] ", keys(verifier.PublicKey{ID: "a1", Key: keyA.key})}, // a private key
		{"Issuers[0].Keys[0] ", keys(verifier.PublicKey{ID: "a1", Key: (*ecdsa.PublicKey)(nil)})},
		{"Issuers[0].Keys[0] ", keys(verifier.PublicKey{ID: "a1", Key: &weak})},
		{"Issuers[0].Keys[0] ", keys(verifier.PublicKey{ID: "a1", Key: &p224.PublicKey})},
		{"Issuers[0].Keys[0] ", keys(verifier.PublicKey{ID: "a1", Key: keyA.public(), Algorithm: "RS256"})},
		{"Issuers[0].Keys[0] ", keys(verifier.PublicKey{ID: "a1", Key: keyA.public(), Algorithm: "ES999"})},
		{"Issuers[0].Keys[0].Key ", keys(verifier.PublicKey{ID: "a1", Key: []byte(strings.Repeat("s", 32))})},
		{"Issuers[0].Keys[1].ID ", keys(verifier.PublicKey{ID: "a1", Key: keyA.public()}, verifier.PublicKey{Key: keyB.public()})},
		{"Issuers[0].Keys[1].ID ", keys(verifier.PublicKey{ID: "a1", Key: keyA.public()}, verifier.PublicKey{ID: "a1", Key: keyB.public()})},
		{"Issuers[0].Keys[0] ", issuer(func(i *verifier.Issuer) {
			i.Algorithms = []string{"HS256"}
			i.Keys = []verifier.PublicKey{{ID: "h", Key: []byte("short")}}
		})},
	} {
		c := verifier.Config{Issuers: []verifier.Issuer{issuerA(), issuerB()}, Feed: newFeed(time.Now)}
		test.change(&c)
		v, err := verifier.New(c)
		if v != nil || !errors.Is(err, verifier.ErrConfig) {
			t.Errorf("%s: got %v, want ErrConfig", test.field, err)
			continue
		}
		if !strings.Contains(err.Error(), ": "+test.field) {
			t.Errorf("the error must name %q: %v", test.field, err)
		}
	}
}

func TestFreshnessRuleTypo(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	raw := mint(r.clock.Now(), nil)
	for _, f := range []verifier.FreshnessRule{{MaxStaleness: -1, Set: true}, {OnStale: 9, Set: true}} {
		if token, err := r.VerifyWithin(context.Background(), raw, f); token != nil || !errors.Is(err, verifier.ErrConfig) {
			t.Errorf("%+v: got %v, want ErrConfig", f, err)
		}
		ctx, cancel := r.WatchWithin(context.Background(), r.accepts(t, "good", raw), f)
		if !errors.Is(context.Cause(ctx), verifier.ErrConfig) {
			t.Errorf("%+v: watch: got cause %v, want ErrConfig", f, context.Cause(ctx))
		}
		cancel()
	}
}

func TestNothingIsAcceptedUnlessRunAndAfterwards(t *testing.T) {
	t.Parallel()
	clock := newClock()
	v, err := verifier.New(verifier.Config{Issuers: []verifier.Issuer{issuerA()}, Feed: newFeed(clock.Now), Now: clock.Now, OnStale: verifier.Allow})
	if err != nil {
		t.Fatal(err)
	}
	raw := mint(clock.Now(), nil)
	check := func(when string) {
		t.Helper()
		if token, err := v.Verify(context.Background(), raw); token != nil || !errors.Is(err, verifier.ErrStale) || errors.Is(err, verifier.ErrInvalid) {
			t.Errorf("%s: got %v, want ErrStale", when, err)
		}
		if err := v.Ready(); !errors.Is(err, verifier.ErrStale) {
			t.Errorf("%s: Ready: got %v, want ErrStale", when, err)
		}
		if err := v.Revoked(verifier.Claims{Issuer: issA, ID: "j1"}); !errors.Is(err, verifier.ErrStale) {
			t.Errorf("%s: Revoked: got %v, want ErrStale", when, err)
		}
	}
	check("before Run")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	eventually(t, "ready", func() bool { return v.Ready() == nil })
	if _, err := v.Verify(context.Background(), raw); err != nil {
		t.Fatal(err)
	}
	if err := v.Run(context.Background()); err == nil {
		t.Error("a second Run must be refused")
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatalf("Run: %v", err)
	}
	check("after Run")
	if err := v.Run(context.Background()); err == nil {
		t.Error("Run after the end must be refused")
	}
	if err := v.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
	_ = v.Status() // must not panic
	_ = v.Stats()
	_ = v.Report()
}
