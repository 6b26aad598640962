package issuer_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/issuer"
)

// TestLedgerIsHeardOfBeforeThereIsAStream: whoever waits for a stream finds it the moment it is made, and must not think that nobody can give
// back what the one before held. An issuer that came to nothing is not waited for.
func TestLedgerIsHeardOfBeforeThereIsAStream(t *testing.T) {
	t.Parallel()
	n := natstest.Start(t, natstest.WithConfig(func(o *natsserver.Options) {
		o.Users = []*natsserver.User{{Username: "node", Password: "x"}, {Username: "issuer", Password: "x", Permissions: &natsserver.Permissions{
			Publish: &natsserver.SubjectPermission{Deny: []string{"$JS.API.STREAM.CREATE.QUASH"}}}}} // so that it takes its time
	}))
	connect := func(user string) *nats.Conn {
		nc, err := events.Connect(events.ConnectConfig{URL: n.URL(), Name: user, User: user, Password: "x"})
		if err != nil {
			t.Fatal(err)
		}
		natstest.Connected(t, nc)
		t.Cleanup(nc.Close)
		return nc
	}
	node, own := connect("node"), connect("issuer")
	ctx, cancel := context.WithTimeout(t.Context(), deadline) // without one it gives up after seconds
	defer cancel()
	done := make(chan error, 1)
	cfg := issuer.Config{Issuer: iss, Audience: []string{"a"}, KeysDir: filepath.Join(t.TempDir(), "keys"),
		Ledger: filepath.Join(t.TempDir(), "ledger"), EnsureStream: true, Conn: own, Node: "n"}
	go func() {
		_, err := issuer.New(ctx, cfg)
		done <- err
	}()
	until(t, "somebody listens", func() bool { _, err := events.AskWhole(t.Context(), node); return err == nil })
	cancel()
	if err := <-done; err == nil {
		t.Error("New: got nil although it may make no stream")
	}
	gone := func(what string) {
		t.Helper()
		until(t, "nobody listens: "+what, func() bool {
			_, err := events.AskWhole(t.Context(), node)
			return errors.Is(err, events.ErrNoLedger)
		})
	}
	gone("it failed")
	cfg.Conn = connect("node")
	i, err := issuer.New(within(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the question is asked", func() bool { // a busy server may have had no time for it
		_, err = events.AskWhole(t.Context(), node)
		return !errors.Is(err, events.ErrUnavailable)
	})
	if err != nil {
		t.Errorf("one that will run: %v", err)
	}
	if err := i.Close(); err != nil {
		t.Error(err)
	}
	gone("it was closed")
}
