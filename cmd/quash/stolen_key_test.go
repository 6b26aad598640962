package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/issuer"
	"github.com/quash-auth/quash/verifier"
)

// keyThief has a copy of a signing key, and makes tokens that look new.
type keyThief struct {
	t   *testing.T
	kid string
	key crypto.PrivateKey
}

func (h keyThief) token() string {
	h.t.Helper()
	now := time.Now()
	text := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"iss": "https://issuer.example", "aud": "api", "sub": "root", "client_id": "quash",
		"jti": events.NewID(), "iat": now.Unix(), "exp": now.Add(time.Second).Unix()})
	text.Header["kid"], text.Header["typ"] = h.kid, "at+jwt"
	signed, err := text.SignedString(h.key)
	if err != nil {
		h.t.Fatal(err)
	}
	return signed
}

// running starts something and returns what stops it.
func running(t *testing.T, run func(context.Context) error, ready func() error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	eventually(t, "it is ready", func() bool { return ready() == nil })
	return stop
}

// TestStolenKey: nodes have the key in a file, which nobody changes. Tokens that its thief makes long after the revocation are refused
// by a node that was there, and by one that starts when the first statement about it has left the stream; the issuer was restarted meanwhile.
func TestStolenKey(t *testing.T) {
	t.Parallel()
	s, dir := natstest.Start(t), t.TempDir()
	keys, set := filepath.Join(dir, "keys"), filepath.Join(dir, "jwks.json")
	replica := func() (*issuer.Issuer, func()) {
		i, err := issuer.New(t.Context(), issuer.Config{Issuer: "https://issuer.example", Audience: []string{"api"}, Conn: s.Connect(t), KeysDir: keys,
			EnsureStream: true, RepairInterval: time.Hour}) // no rounds but the first
		if err != nil {
			t.Fatal(err)
		}
		return i, running(t, i.Run, i.Ready)
	}
	i, stop := replica()
	all, err := i.Keys()
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	h := keyThief{t: t, kid: all[0].ID}
	text, err := os.ReadFile(filepath.Join(keys, h.kid+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if h.key, err = x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	i.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/.well-known/jwks.json", nil))
	if err := os.WriteFile(set, answer.Body.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	node := func() *verifier.Verifier {
		v, err := verifier.New(verifier.Config{NATS: s.Connect(t),
			Issuers: []verifier.Issuer{{Issuer: "https://issuer.example", Audience: []string{"api"}, JWKSFile: set}}})
		if err != nil {
			t.Fatal(err)
		}
		running(t, v.Run, v.Ready)
		return v
	}
	old := node()
	if _, err := old.Verify(t.Context(), h.token()); err != nil {
		t.Fatalf("before: got %v, want an accepted token", err)
	}
	ack, err := i.Revoke(t.Context(), events.Revocation{Scope: events.Key, Key: h.kid, By: "admin", Reason: "stolen", Until: time.Now().Add(15 * time.Second)}) // time for the next issuer to start
	if err != nil {
		t.Fatal(err)
	}
	refused := func() bool {
		_, err := old.Verify(t.Context(), h.token())
		return errors.Is(err, verifier.ErrRevoked)
	}
	eventually(t, "the node refuses them", refused)
	stop()
	i, _ = replica()
	js, err := jetstream.New(s.Connect(t), jetstream.WithDefaultTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), events.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first statement has left the stream", func() bool {
		if !refused() {
			t.Fatal("the node accepts a token of the stolen key again")
		}
		_, err := stream.GetMsg(t.Context(), ack.Sequence)
		return errors.Is(err, jetstream.ErrMsgNotFound)
	})
	if n := i.Stats().Renewed; n != 1 {
		t.Errorf("%d renewals, want one", n)
	}
	if _, err := node().Verify(t.Context(), h.token()); !errors.Is(err, verifier.ErrRevoked) {
		t.Errorf("a node that starts now: got %v, want ErrRevoked", err)
	}
	if !refused() {
		t.Error("the node that was there accepts it again")
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
