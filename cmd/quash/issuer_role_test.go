package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/issuer"
)

// slowStore is a store of users that does not answer at first.
type slowStore struct {
	issuer.Users
	asked int
}

var errSlow = errors.New("no answer yet")

func (s *slowStore) ByName(context.Context, string) (issuer.User, error) {
	if s.asked++; s.asked == 1 {
		return issuer.User{}, errSlow
	}
	return issuer.User{}, nil
}

// TestIssuerRole_opensItsLedgerAgain: an attempt to open that fails after the ledger was opened must not be in the way of the next one.
func TestIssuerRole_opensItsLedgerAgain(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it would close what was forgotten
	conn, err := events.Connect(events.ConnectConfig{URL: natstest.Start(t).URL(), Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	natstest.Connected(t, conn)
	dir := t.TempDir()
	r, err := newIssuerRole(conn, issuer.Config{Issuer: "http://127.0.0.1:1", AllowHTTP: true, Audience: []string{defaultAudience}, EnsureStream: true,
		KeysDir: filepath.Join(dir, "keys"), Ledger: filepath.Join(dir, "ledger"), Users: &slowStore{}},
		[]bootstrapUser{{credential: credential{"ada", "a long password"}}}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if err := r.open(t.Context()); !errors.Is(err, errSlow) || permanent(err) {
		t.Fatalf("the first attempt: %v", err)
	}
	if err := r.open(t.Context()); err != nil {
		t.Errorf("the second attempt: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// TestIssuerRole_isHeardOfWhileItOpens: the records cannot be reached. The first attempt makes the stream and fails, and a node that starts
// between the attempts must find that somebody has a ledger.
func TestIssuerRole_isHeardOfWhileItOpens(t *testing.T) {
	s := natstest.Start(t)
	connect := func(url string) *nats.Conn {
		c, err := events.Connect(events.ConnectConfig{URL: url, Name: t.Name()})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	node := s.Connect(t)
	dir := t.TempDir()
	failed := make(chan struct{}, 100)
	log := slog.New(slog.NewTextHandler(writerFunc(func(b []byte) (int, error) {
		if strings.Contains(string(b), "can not open yet") {
			failed <- struct{}{}
		}
		return len(b), nil
	}), nil))
	r, err := newIssuerRole(connect(s.URL()), issuer.Config{Issuer: "http://127.0.0.1:1", AllowHTTP: true, Audience: []string{defaultAudience}, EnsureStream: true,
		KeysDir: filepath.Join(dir, "keys"), Ledger: filepath.Join(dir, "ledger"), Records: connect("nats://127.0.0.1:1"), Node: "issuer-1"}, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	<-failed
	js, err := jetstream.New(node, jetstream.WithDefaultTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Stream(t.Context(), events.StreamName); err != nil {
		t.Fatalf("the stream was not made: this test shows nothing: %v", err)
	}
	for range 10 { // more than the pause between two attempts
		if _, err := events.AskWhole(t.Context(), node); errors.Is(err, events.ErrNoLedger) {
			t.Fatal("nobody listens")
		}
	}
}
