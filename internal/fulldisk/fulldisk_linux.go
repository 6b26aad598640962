// Package fulldisk takes the room away from a file that this process has open, for tests: the system answers every further write
// to it with "no space left on device".
package fulldisk

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// Fill puts /dev/full in the place of each handle on the file. free gives the room back.
func Fill(t testing.TB, path string) (free func()) {
	t.Helper()
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	const open = "/proc/self/fd"
	entries, err := os.ReadDir(open)
	if err != nil {
		t.Fatal(err)
	}
	var handles []int
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join(open, e.Name())); err != nil || to != path {
			continue // closed meanwhile, or another file
		}
		handle, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		handles = append(handles, handle)
	}
	if len(handles) == 0 {
		t.Fatalf("nobody has %s open", path)
	}
	kept := map[int]int{} // not filled in above: one of these would be found there
	for _, handle := range handles {
		if kept[handle], err = syscall.Dup(handle); err != nil {
			t.Fatal(err)
		}
		put(t, int(full.Fd()), handle)
	}
	return func() {
		for handle, was := range kept {
			put(t, was, handle)
			if err := syscall.Close(was); err != nil {
				t.Fatal(err)
			}
		}
		clear(kept)
	}
}

func put(t testing.TB, from, to int) {
	t.Helper()
	if err := syscall.Dup3(from, to, syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
}
