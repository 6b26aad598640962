package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"runtime/debug"
	"testing"

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
