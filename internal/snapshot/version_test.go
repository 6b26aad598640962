package snapshot_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/quash-auth/quash/internal/snapshot"
)

// TestFileOfVersion1: a file that the program wrote before marks held a place is read and gone on with, and is one that the program of before
// could read until it is compacted.
func TestFileOfVersion1(t *testing.T) {
	old, err := os.ReadFile(filepath.Join("testdata", "v1.snapshot"))
	must(t, err)
	id := snapshot.Identity{1, 2, 3}
	path := filepath.Join(t.TempDir(), "snapshot")
	must(t, os.WriteFile(path, old, 0o600))
	last := func() snapshot.Contents {
		t.Helper()
		c, err := snapshot.Read(path, id, nil)
		must(t, err)
		return c
	}
	c := last()
	want := snapshot.Mark{AsOf: time.Unix(1_795_000_000, 42).UTC(), Staleness: 20 * time.Millisecond, Written: time.Unix(1_795_000_001, 0).UTC(),
		Boot: [16]byte{9}, Uptime: time.Hour, Sequence: 12, MaxTokenLife: time.Hour, Leeway: time.Minute}
	if c.Statements != 3 || !c.Marked || c.Mark != want {
		t.Fatalf("got %+v", c)
	}
	f := own(t, path)
	if _, err := f.Read(id, nil); err != nil {
		t.Fatal(err)
	}
	w, err := f.Append()
	must(t, err)
	next := mark(5)
	must(t, w.Mark(next))
	plain := next
	plain.Stream, plain.Last, plain.Kept = time.Time{}, snapshot.Landmark{}, snapshot.Landmark{}
	if got := last().Mark; got != plain {
		t.Errorf("a mark in the old file: %+v, want it without a place", got)
	}
	must(t, w.Compact(func(snapshot.Statement) bool { return true }))
	if got := last(); got.Mark != plain || got.Statements != 3 {
		t.Errorf("after the compaction: %+v", got)
	}
	must(t, w.Mark(next))
	if got := last().Mark; got != next {
		t.Errorf("a mark in the new file: %+v, want %+v", got, next)
	}
	must(t, w.Close())
	if got := last(); got.Mark != next || got.Statements != 3 {
		t.Errorf("at the end: %+v", got)
	}
}
