//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package snapshot_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/quash-auth/quash/internal/snapshot"
)

const holderEnv = "QUASH_TEST_HOLD"

// TestHolder is another process, if it is told to be one: it writes to a file until its input ends.
func TestHolder(t *testing.T) {
	path := os.Getenv(holderEnv)
	if path == "" {
		return
	}
	w, err := snapshot.Create(path, id)
	must(t, err)
	must(t, w.Add([]snapshot.Statement{statement(1)}))
	must(t, w.Mark(mark(1)))
	fmt.Println("held")
	_, _ = os.Stdin.Read(make([]byte, 1)) // its end is what is waited for
}

// TestExchangedFile: what another process has begun at the place of a file that was moved away is not compacted for it.
func TestExchangedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snapshot")
	first, err := snapshot.Create(path, id)
	must(t, err)
	must(t, first.Add([]snapshot.Statement{statement(1)}))
	must(t, os.Rename(path, path+".away"))
	second, err := snapshot.Create(path, id)
	must(t, err)
	must(t, second.Add([]snapshot.Statement{statement(2), statement(3)}))
	before, err := os.ReadFile(path)
	must(t, err)
	if err := first.Compact(func(snapshot.Statement) bool { return true }); !errors.Is(err, snapshot.ErrInUse) {
		t.Errorf("compacted: %v", err)
	}
	if err := first.Mark(mark(2)); !errors.Is(err, snapshot.ErrInUse) {
		t.Errorf("and goes on to say that it is complete: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the other's file has changed, %v", err)
	}
	must(t, second.Close())
	_ = first.Close()
}

// TestOneWriter: what one process writes no other goes on with, replaces or moves away; what a dead one left anybody may.
func TestOneWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snapshot")
	cmd := exec.Command(os.Args[0], "-test.run=^TestHolder$")
	cmd.Env = append(os.Environ(), holderEnv+"="+path)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	end := func() { _ = in.Close(); _ = cmd.Wait() }
	t.Cleanup(end)
	_, err = out.Read(make([]byte, 1))
	must(t, err)

	all, c, err := read(t, path)
	if err != nil || len(all) != 1 {
		t.Fatalf("%d statements, %v", len(all), err)
	}
	refused := func(what string) {
		t.Helper()
		if w, err := snapshot.Append(path, id, c); !errors.Is(err, snapshot.ErrInUse) {
			t.Errorf("%s: gone on with: %v, %v", what, w, err)
		}
		if w, err := snapshot.Create(path, id); !errors.Is(err, snapshot.ErrInUse) {
			t.Errorf("%s: replaced: %v, %v", what, w, err)
		}
		if _, err := snapshot.Refuse(path); !errors.Is(err, snapshot.ErrInUse) {
			t.Errorf("%s: moved away: %v", what, err)
		}
	}
	refused("a live process's")
	end()
	w, err := snapshot.Append(path, id, c)
	if err != nil {
		t.Fatalf("a dead process's: %v", err)
	}
	refused("our own")
	must(t, w.Add([]snapshot.Statement{statement(2)}))
	must(t, w.Compact(func(snapshot.Statement) bool { return true }))
	refused("our own, compacted")
	must(t, w.Close())
	if all, _, err := read(t, path); err != nil || len(all) != 2 {
		t.Errorf("%d statements, %v", len(all), err)
	}
	kept, err := snapshot.Refuse(path)
	must(t, err)
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
	w, err = snapshot.Create(path, id)
	must(t, err)
	must(t, w.Close())
}
