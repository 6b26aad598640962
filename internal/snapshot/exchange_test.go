package snapshot_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quash-auth/quash/internal/snapshot"
)

func keepAll(snapshot.Statement) bool { return true }

// TestExchangedFile: what another process has begun at the place of a file that was moved away is not compacted for it.
func TestExchangedFile(t *testing.T) {
	first, path := create(t)
	must(t, first.Add([]snapshot.Statement{statement(1)}))
	must(t, os.Rename(path, path+".away"))
	must(t, os.Remove(path+".lock")) // and the lock file with it
	second := createAt(t, path)
	must(t, second.Add([]snapshot.Statement{statement(2), statement(3)}))
	before, err := os.ReadFile(path)
	must(t, err)
	if err := first.Compact(keepAll); !errors.Is(err, snapshot.ErrInUse) {
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

// TestChangedSinceItWasRead: whoever did that, and whatever locks he knows, nothing of his is cut off or appended to.
func TestChangedSinceItWasRead(t *testing.T) {
	grow := func(t *testing.T, path string) {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		must(t, err)
		_, err = f.WriteString("more")
		must(t, errors.Join(err, f.Close()))
	}
	for what, change := range map[string]func(t *testing.T, path string){
		"exchanged": func(t *testing.T, path string) {
			content, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(path+".other", content, 0o600))
			must(t, os.Rename(path+".other", path))
		},
		"appended to": grow,
		"cut off":     func(t *testing.T, path string) { must(t, os.Truncate(path, 60)) },
		"moved away":  func(t *testing.T, path string) { must(t, os.Rename(path, path+".away")) },
	} {
		t.Run(what, func(t *testing.T) {
			w, path := create(t)
			must(t, w.Add([]snapshot.Statement{statement(1)}))
			must(t, w.Mark(mark(1)))
			must(t, w.Close())
			f := own(t, path)
			_, err := f.Read(id, nil)
			must(t, err)
			change(t, path)
			before, _ := os.ReadFile(path)
			if _, err := f.Append(); err == nil {
				t.Error("gone on with")
			}
			if after, _ := os.ReadFile(path); string(after) != string(before) {
				t.Error("it was changed once more")
			}
			if _, err := f.Append(); err == nil {
				t.Error("gone on with at the second try")
			}
		})
	}
}

// TestAppendedWhileItIsRead: what comes after the check was not checked, and is not handed out.
func TestAppendedWhileItIsRead(t *testing.T) {
	w, path := create(t)
	long := statement(1)
	long.Text = strings.Repeat("x", 512<<10) // more than is read at once
	for range 4 {
		must(t, w.Add([]snapshot.Statement{long}))
	}
	n := 0
	c, err := snapshot.Read(path, id, func(batch []snapshot.Statement) error {
		n += len(batch)
		return w.Add([]snapshot.Statement{statement(2)})
	})
	if err != nil || n != 4 || c.Statements != 4 {
		t.Errorf("%d statements, %+v, %v", n, c, err)
	}
}

// TestCompactionAfterACrash: what one has left is in nobody's way, and does not pile up.
func TestCompactionAfterACrash(t *testing.T) {
	w, path := create(t)
	must(t, w.Add([]snapshot.Statement{statement(1)}))
	must(t, os.WriteFile(path+".next", []byte("half"), 0o600))
	must(t, w.Compact(keepAll))
	if _, err := os.Stat(path + ".next"); err == nil {
		t.Error("it is still there")
	}
	must(t, w.Close())
	must(t, os.WriteFile(path+".next", []byte("half"), 0o600))
	must(t, createAt(t, path).Close())
	if all, _, err := read(t, path); err != nil || len(all) != 0 {
		t.Errorf("%d statements, %v", len(all), err)
	}
}

// TestCompactionThatFails is not tried again at once, which would copy the whole file each time.
func TestCompactionThatFails(t *testing.T) {
	w, path := create(t)
	long := statement(1)
	long.Text = strings.Repeat("x", 512<<10)
	for range 9 {
		must(t, w.Add([]snapshot.Statement{long}))
	}
	if !w.Due() {
		t.Fatal("it has grown by more than 4 MiB")
	}
	inTheWay := filepath.Join(path+".next", "x")
	must(t, os.MkdirAll(inTheWay, 0o700))
	if err := w.Compact(keepAll); err == nil {
		t.Fatal("compacted")
	}
	if w.Due() {
		t.Error("due again at once")
	}
	must(t, os.RemoveAll(path+".next"))
	for range 9 {
		must(t, w.Add([]snapshot.Statement{long}))
	}
	if !w.Due() {
		t.Error("never due again")
	}
	must(t, w.Compact(func(snapshot.Statement) bool { return false }))
	must(t, w.Close())
	if all, _, err := read(t, path); err != nil || len(all) != 0 {
		t.Errorf("%d statements, %v", len(all), err)
	}
}

// TestNoReaderTakesIt: a statement that would cost the whole file is not written.
func TestNoReaderTakesIt(t *testing.T) {
	w, path := create(t)
	must(t, w.Add([]snapshot.Statement{statement(1)}))
	must(t, w.Mark(mark(1)))
	long := statement(2)
	long.Key = strings.Repeat("x", 2<<20)
	if err := w.Add([]snapshot.Statement{long}); err == nil {
		t.Error("written")
	}
	if err := w.Mark(mark(2)); err == nil {
		t.Error("and it is said to be complete without it")
	}
	must(t, w.Close())
	if all, c, err := read(t, path); err != nil || len(all) != 1 || c.Mark != mark(1) {
		t.Errorf("%d statements, %+v, %v", len(all), c, err)
	}
}
