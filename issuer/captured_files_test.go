package issuer_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// TestRevokeWhileTheDirectoryIsAway: the key is out of use at once, and as soon as a new one can be stored there is one.
func TestRevokeWhileTheDirectoryIsAway(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL())
	r.user("root", issuer.ScopeAdmin)
	s := r.login("root")
	kid := issuer.KeyID(r.Issuer, s.Access)
	dir, aside := r.cfg.KeysDir, r.cfg.KeysDir+".away"
	if err := os.Rename(dir, aside); err != nil {
		t.Fatal(err)
	}
	r.want("revoke", r.revoke(s.Access, "key", kid), 503, "temporarily_unavailable")
	r.dead("what it signed", s.Access)
	if err := os.Rename(aside, dir); err != nil {
		t.Fatal(err)
	}
	until(t, "another key signs", func() bool { return r.Ready() == nil })
	if next := issuer.KeyID(r.Issuer, r.login("root").Access); next == kid {
		t.Errorf("the revoked key %s signs", kid)
	}
	until(t, "the statement is published", func() bool { return r.published(events.Key, kid) == 1 })
}

// TestKidIsNoPath: a statement may name any text as a key, and none of it is a place for a file.
func TestKidIsNoPath(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	k, err := issuer.OpenKeyring(filepath.Join(outside, "keys"), "ES256", time.Minute, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	only := k.Published()[0]
	if err := os.Remove(filepath.Join(outside, "keys", only+".pem")); err != nil {
		t.Fatal(err)
	}
	if err := k.Revoke("../planted"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Signer(); err != nil {
		t.Errorf("got %v, want a new key", err)
	}
	files, err := os.ReadDir(outside)
	if err != nil || len(files) != 1 {
		t.Errorf("got %v, %v, want the keys directory alone", files, err)
	}
}

// TestKeysDirOfEverybody: whoever can put a key there signs what he likes.
func TestKeysDirOfEverybody(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	if _, err := issuer.OpenKeyring(dir, "ES256", time.Minute, time.Now); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o702, 0o777, os.ModeSticky | 0o777} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := issuer.OpenKeyring(dir, "ES256", time.Minute, time.Now); err == nil || !strings.Contains(err.Error(), "chmod o-w") {
			t.Errorf("mode %v: got %v, want a refusal", mode, err)
		}
	}
}

// TestKeysOfAnotherUser: whose the directory is puts a key there, whose a file is reads it. Root may anyway.
func TestKeysOfAnotherUser(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	if _, err := issuer.OpenKeyring(dir, "ES256", time.Minute, time.Now); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil || len(files) != 1 {
		t.Fatalf("got %q, %v, want one key", files, err)
	}
	refused := func(what string, user int, name string) {
		t.Helper()
		err := issuer.OpenKeyringAs(user, dir)
		if err == nil || !strings.Contains(err.Error(), "chown it") || !strings.Contains(err.Error(), name+" belongs to user") && !strings.Contains(err.Error(), name+": it belongs to user") {
			t.Errorf("%s: got %v, want a refusal that names %s", what, err, name)
		}
	}
	mine := os.Geteuid()
	if mine == 0 { // only root can give a file away
		if err := issuer.OpenKeyringAs(4711, dir); err != nil {
			t.Errorf("root's: %v", err)
		}
		mine = 4711
		if err := os.Chown(files[0], mine, -1); err != nil {
			t.Fatal(err)
		}
		refused("a file", mine+1, files[0])
		refused("a file, by root", 0, files[0])
		if err := os.Chown(dir, mine, -1); err != nil {
			t.Fatal(err)
		}
	}
	if err := issuer.OpenKeyringAs(mine, dir); err != nil {
		t.Errorf("one's own: %v", err)
	}
	refused("the directory", mine+1, dir)
	refused("the directory, by root", 0, dir)
}

// TestClientsFileOfEverybody: whoever can write it makes himself an operator. What is no file is not waited for.
func TestClientsFileOfEverybody(t *testing.T) {
	t.Parallel()
	file := newClientsFile(t, appOn)
	if _, err := issuer.ReadClients(file.path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file.path, 0o646); err != nil {
		t.Fatal(err)
	}
	if _, err := issuer.ReadClients(file.path); err == nil || !strings.Contains(err.Error(), "chmod o-w") {
		t.Errorf("got %v, want a refusal", err)
	}
	if _, err := issuer.ReadClients(filepath.Dir(file.path)); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory: got %v", err)
	}
}

// TestLedgerOfEverybody: what anybody could have written is not published in the issuer's name.
func TestLedgerOfEverybody(t *testing.T) {
	t.Parallel()
	s := server(t)
	file := filepath.Join(t.TempDir(), "ledger")
	r := start(t, s.URL(), func(c *issuer.Config) { c.Ledger = file })
	if _, err := r.Revoke(within(t), events.Revocation{Scope: events.Session, Key: "x"}); err != nil {
		t.Fatal(err)
	}
	wipe(t, r, false)
	r.stop()
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	again := startWith(t, s.URL(), r.cfg)
	until(t, "it has compared", func() bool { return issuer.Compared(again.Issuer) })
	if n, got := again.Stats().Returned, again.statements(); n != 0 || len(got) != 0 {
		t.Errorf("gave back %d, the stream holds %v, want nothing", n, got)
	}
	if _, err := os.Stat(file + ".refused"); err != nil {
		t.Errorf("the refused file: %v", err)
	}
}
