package issuer_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsd "github.com/nats-io/nats-server/v2/server"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/issuer"
)

// TestWritesThatAreNeverAnswered, as by a bucket that has lost its leader: the loops behind go on with what else there is to do.
func TestWritesThatAreNeverAnswered(t *testing.T) {
	t.Parallel()
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.Mkdir(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(keys, "gone.revoked"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// Records that know nothing of the key, and neither take it nor the reconciler's cursor.
	deny := &natsd.SubjectPermission{Deny: []string{kv + "c.reconciled", kv + "e.key.>"}}
	s := natstest.Start(t, natstest.WithConfig(func(o *natsd.Options) {
		o.Users = []*natsd.User{{Username: "issuer", Password: "x", Permissions: &natsd.Permissions{Publish: deny}}}
		o.NoAuthUser = "issuer"
	}))
	r := start(t, s.URL(), func(c *issuer.Config) { c.KeysDir = keys })
	issuer.SetStorePatience(r.Issuer, 200*time.Millisecond) // of the loops: all else here has a deadline
	r.user("ann")
	l := r.login("ann")
	p, err := events.NewPublisher(events.PublisherConfig{Conn: r.cfg.Conn, By: "policy"})
	if err != nil {
		t.Fatal(err)
	}
	r.behind(p, "a cursor")
	until(t, "it is being saved", func() bool {
		err := r.cfg.Conn.LastError()
		return err != nil && strings.Contains(err.Error(), "c.reconciled")
	})
	issuer.SetFault(r.Issuer, func(at string) error {
		if at == "ending" {
			return errCrash
		}
		return nil
	})
	if _, err := r.Revoke(within(t), events.Revocation{Scope: events.Session, Key: l.Sid}); !errors.Is(err, errCrash) {
		t.Fatalf("got %v, want the crash", err)
	}
	issuer.SetFault(r.Issuer, func(string) error { return nil })
	until(t, "the session that was left behind is repaired", func() bool {
		n, err := issuer.Pointers(t.Context(), r.Issuer)
		return err == nil && n == 0
	})
	r.settled()
}
