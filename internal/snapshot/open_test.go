package snapshot_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/quash-auth/quash/internal/snapshot"
)

// TestFileOfOthersIsRefused: in a directory of many, anybody could plant one before the node starts.
func TestFileOfOthersIsRefused(t *testing.T) {
	w, path := create(t)
	must(t, w.Add([]snapshot.Statement{statement(1)}))
	must(t, w.Mark(mark(1)))
	must(t, w.Close())
	f := own(t, path)
	refused := func(what string) {
		t.Helper()
		if got, _, err := read(t, path); !errors.Is(err, snapshot.ErrExposed) || len(got) > 0 {
			t.Errorf("%s: read %d statements, %v", what, len(got), err)
		}
		if _, err := f.Read(id, nil); !errors.Is(err, snapshot.ErrExposed) {
			t.Errorf("%s: read to be appended to, %v", what, err)
		}
	}
	for _, mode := range []os.FileMode{0o620, 0o602, 0o666} {
		must(t, os.Chmod(path, mode))
		refused(mode.String())
	}
	must(t, os.Chmod(path, 0o600))
	_, err := f.Read(id, nil)
	must(t, err)
	must(t, os.Chmod(path, 0o620))
	if _, err := f.Append(); !errors.Is(err, snapshot.ErrExposed) {
		t.Errorf("exposed since it was read: appended to, %v", err)
	}
	must(t, os.Chmod(path, 0o600))
	if os.Geteuid() == 0 { // nobody else can give a file away
		must(t, os.Chown(path, 65534, -1))
		refused("of another user")
		must(t, os.Chown(path, 0, -1))
	}
	if _, _, err := read(t, path); err != nil {
		t.Errorf("our own: %v", err)
	}
	// A link leads to what it leads to; a new file takes its place and not that of its target.
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(path, link))
	must(t, createAt(t, link).Close())
	if all, _, err := read(t, path); err != nil || len(all) != 1 {
		t.Errorf("the target of a link: %d statements, %v", len(all), err)
	}
	if _, err := snapshot.Read(filepath.Dir(path), id, nil); err == nil {
		t.Error("a directory was read")
	}
}
