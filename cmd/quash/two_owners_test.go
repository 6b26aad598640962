package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/internal/ports"
)

// TestTwoOwners_startedAtOnce: two issuers are given one ledger, which does not exist yet. One has it, the other one ends and says who and
// what to do. Whoever comes after a kill -9 goes on with the file.
func TestTwoOwners_startedAtOnce(t *testing.T) {
	t.Parallel()
	nats := natstest.Start(t)
	dir := t.TempDir()
	ledger := filepath.Join(dir, "ledger")
	begin := func() (*process, string) {
		address, err := ports.Address()
		if err != nil {
			t.Fatal(err)
		}
		return startQuash(t, "issuer", "--listen", address, "--issuer", "http://127.0.0.1:1", "--nats", nats.URL(), "--ensure-stream",
			"--keys-dir", filepath.Join(dir, "keys"), "--ledger", ledger), "http://" + address + "/readyz"
	}
	one, atOne := begin()
	two, atTwo := begin()
	select {
	case <-one.done:
		one, two, atOne = two, one, atTwo
	case <-two.done:
	case <-time.After(patience):
		t.Fatal("both live")
	}
	if err := waitStatus(atOne, "", http.StatusOK); err != nil {
		t.Fatal(err)
	}
	if two.err == nil {
		t.Error("the second one ended well")
	}
	for _, part := range []string{"--ledger: " + ledger, fmt.Sprintf("another process writes this file (process %d on ", one.cmd.Process.Pid), "give each process a path of its own"} {
		if !strings.Contains(two.output(), part) {
			t.Errorf("the second one does not say %q:\n%s", part, two.output())
		}
	}
	one.kill()
	if _, err := os.Stat(ledger); err != nil {
		t.Fatal(err)
	}
	_, at := begin()
	if err := waitStatus(at, "", http.StatusOK); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(ledger + ".refused"); err == nil {
		t.Error("the ledger of the one that was killed was refused")
	}
}
