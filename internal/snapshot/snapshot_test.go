package snapshot_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quash-auth/quash/internal/snapshot"
)

var id = snapshot.Identity{1, 2, 3}

func statement(n int) snapshot.Statement {
	return snapshot.Statement{Scope: uint8(1 + n%6), Issuer: "https://a.example", Key: fmt.Sprint("key-", n), Before: int64(n), Gen: uint64(n), Until: int64(1000 + n), Sequence: uint64(n), Text: strings.Repeat("x", n%3)}
}

func mark(n int) snapshot.Mark {
	return snapshot.Mark{AsOf: time.Unix(int64(n), 5).UTC(), Staleness: time.Second, Written: time.Unix(int64(n)+1, 0).UTC(), Boot: [16]byte{9}, Uptime: time.Hour,
		Sequence: uint64(n), MaxTokenLife: time.Hour, Leeway: time.Minute, Stream: time.Unix(77, 7).UTC(),
		Last: snapshot.Landmark{Sequence: uint64(n), Time: time.Unix(int64(n), 9).UTC()},
		Kept: snapshot.Landmark{Sequence: 1, Time: time.Unix(78, 1).UTC(), Until: time.Unix(9_999, 0).UTC()}}
}

func read(t testing.TB, path string) ([]snapshot.Statement, snapshot.Contents, error) {
	t.Helper()
	var all []snapshot.Statement
	c, err := snapshot.Read(path, id, func(batch []snapshot.Statement) error {
		all = append(all, batch...)
		return nil
	})
	return all, c, err
}

func create(t testing.TB) (*snapshot.Writer, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "snapshot")
	return createAt(t, path), path
}

func own(t testing.TB, path string) *snapshot.File {
	t.Helper()
	f, err := snapshot.Own(path)
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func createAt(t testing.TB, path string) *snapshot.Writer {
	t.Helper()
	w, err := own(t, path).Create(id)
	must(t, err)
	t.Cleanup(func() { _ = w.Close() })
	return w
}

// goOn reads what is there, and appends.
func goOn(t testing.TB, path string) *snapshot.Writer {
	t.Helper()
	f := own(t, path)
	_, err := f.Read(id, nil)
	must(t, err)
	w, err := f.Append()
	must(t, err)
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatWasWrittenIsRead(t *testing.T) {
	w, path := create(t)
	extreme := snapshot.Statement{Scope: 6, Before: math.MaxInt64, Gen: math.MaxUint64, Until: math.MinInt64, Sequence: math.MaxUint64}
	must(t, w.Add([]snapshot.Statement{statement(1), extreme}))
	must(t, w.Mark(mark(1)))
	must(t, w.Add([]snapshot.Statement{statement(2)}))
	must(t, w.Mark(mark(2)))
	must(t, w.Add([]snapshot.Statement{statement(3)}))
	must(t, w.Close())
	got, c, err := read(t, path)
	must(t, err)
	if want := []snapshot.Statement{statement(1), extreme, statement(2), statement(3)}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if c.Mark != mark(2) || !c.Marked || c.Torn || c.Statements != 4 {
		t.Errorf("got %+v", c)
	}
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600: it names sessions", info.Mode())
	}
	// Gone on with.
	w = goOn(t, path)
	must(t, w.Add([]snapshot.Statement{statement(4)}))
	must(t, w.Mark(mark(3)))
	must(t, w.Close())
	if got, c, err := read(t, path); err != nil || len(got) != 5 || c.Mark != mark(3) {
		t.Errorf("got %d statements, %+v, %v", len(got), c, err)
	}
}

// TestCutAnywhere: a crash leaves any beginning of the file, and of that only what is whole counts, never a mark whose statements are not there.
func TestCutAnywhere(t *testing.T) {
	w, path := create(t)
	for n := range 6 {
		must(t, w.Add([]snapshot.Statement{statement(n)}))
		must(t, w.Mark(mark(n)))
	}
	must(t, w.Close())
	whole, err := os.ReadFile(path)
	must(t, err)
	for cut := range len(whole) {
		must(t, os.WriteFile(path, whole[:cut], 0o600))
		got, c, err := read(t, path)
		if err != nil {
			if !errors.Is(err, snapshot.ErrDamaged) || len(got) > 0 {
				t.Fatalf("cut at %d: %d statements, %v", cut, len(got), err)
			}
			continue
		}
		if c.Marked && len(got) < int(c.Mark.Sequence)+1 {
			t.Fatalf("cut at %d: the mark says %d and there are %d statements", cut, c.Mark.Sequence, len(got))
		}
		// What is appended to such a file is found again.
		w := goOn(t, path)
		must(t, w.Add([]snapshot.Statement{statement(99)}))
		must(t, w.Close())
		if again, c, err := read(t, path); err != nil || len(again) != len(got)+1 || c.Torn {
			t.Fatalf("cut at %d and gone on: %d statements, %+v, %v", cut, len(again), c, err)
		}
	}
}

// TestChangedAnywhere: no changed byte, and no frame left out, doubled or moved goes unnoticed unless it looks like a cut, and then
// nothing behind it counts.
func TestChangedAnywhere(t *testing.T) {
	w, path := create(t)
	var ends []int
	for n := range 4 {
		must(t, w.Add([]snapshot.Statement{statement(n)}))
		must(t, w.Mark(mark(n)))
		info, err := os.Stat(path)
		must(t, err)
		ends = append(ends, int(info.Size()))
	}
	must(t, w.Close())
	whole, err := os.ReadFile(path)
	must(t, err)
	check := func(what string, content []byte) {
		t.Helper()
		must(t, os.WriteFile(path, content, 0o600))
		got, c, err := read(t, path)
		switch {
		case err != nil && len(got) > 0:
			t.Fatalf("%s: refused (%v), after %d statements were handed out", what, err, len(got))
		case errors.Is(err, snapshot.ErrDamaged):
		case err == nil && c.Torn && (!c.Marked || len(got) >= int(c.Mark.Sequence)+1):
		default:
			t.Fatalf("%s: got %d statements, %+v, %v", what, len(got), c, err)
		}
	}
	for at := range whole {
		for bit := range 8 {
			changed := slices.Clone(whole)
			changed[at] ^= 1 << bit
			check(fmt.Sprintf("bit %d of byte %d", bit, at), changed)
		}
	}
	check("a frame left out", slices.Concat(whole[:ends[0]], whole[ends[1]:]))
	check("a frame doubled", slices.Concat(whole[:ends[1]], whole[ends[0]:]))
	check("frames exchanged", slices.Concat(whole[:ends[0]], whole[ends[1]:ends[2]], whole[ends[0]:ends[1]], whole[ends[2]:]))
}

func TestForeignFilesAreRefused(t *testing.T) {
	w, path := create(t)
	must(t, w.Close())
	if _, err := snapshot.Read(path, snapshot.Identity{7}, nil); !errors.Is(err, snapshot.ErrForeign) {
		t.Errorf("another identity: %v", err)
	}
	if _, err := snapshot.Read(path+"-none", id, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for _, v := range []uint32{0, snapshot.Version + 1, math.MaxUint32} {
		must(t, os.WriteFile(path, snapshot.HeaderOfVersion(v, id), 0o600))
		if _, err := snapshot.Read(path, id, nil); !errors.Is(err, snapshot.ErrVersion) {
			t.Errorf("version %d: %v", v, err)
		}
	}
}

// TestCompactionLosesNothing: statements and marks are added all the while.
func TestCompactionLosesNothing(t *testing.T) {
	w, path := create(t)
	const writers, each = 4, 500
	var all sync.WaitGroup
	for n := range writers {
		all.Go(func() {
			for i := range each {
				s := statement(n*each + i)
				s.Until = int64(i % 2) // every other is dead
				if err := w.Add([]snapshot.Statement{s}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	live := func(s snapshot.Statement) bool { return s.Until > 0 }
	for n := range 10 {
		must(t, w.Mark(mark(n)))
		must(t, w.Compact(live))
	}
	all.Wait()
	must(t, w.Mark(mark(10)))
	must(t, w.Compact(live))
	must(t, w.Add([]snapshot.Statement{statement(99_999)}))
	must(t, w.Close())
	got, c, err := read(t, path)
	must(t, err)
	seen := map[string]bool{}
	for _, s := range got {
		seen[s.Key] = true
		if s.Until == 0 {
			t.Fatalf("%v is dead and was kept", s)
		}
	}
	if len(seen) != writers*each/2+1 || len(got) != len(seen) || c.Mark != mark(10) {
		t.Errorf("%d statements of %d keys, %+v", len(got), len(seen), c)
	}
	left, err := filepath.Glob(path + ".*")
	must(t, err)
	if want := []string{path + ".lock"}; !slices.Equal(left, want) {
		t.Errorf("beside it are %v, want %v", left, want)
	}
}

func TestAgeBelievesTheWorseClock(t *testing.T) {
	m := mark(1000)
	boot := m.Boot
	for _, c := range []struct {
		what   string
		wall   time.Duration // since it was written
		boot   [16]byte
		uptime time.Duration // since then
		want   time.Duration
		known  bool
	}{
		{"both agree", 10 * time.Second, boot, 10 * time.Second, 11 * time.Second, true},
		{"the wall clock was set back within the second that is noise", -time.Second, boot, 10 * time.Second, 11 * time.Second, true},
		{"the wall clock was set back", -time.Hour, boot, 10 * time.Second, 0, false},
		{"the wall clock was set back a little", 2 * time.Second, boot, 10 * time.Second, 11 * time.Second, true},
		{"the wall clock went ahead", time.Hour, boot, 10 * time.Second, time.Hour + time.Second, true},
		{"another boot", 20 * time.Second, [16]byte{8}, -30 * time.Minute, 21 * time.Second, true},
		{"no boot", 20 * time.Second, [16]byte{}, 0, 21 * time.Second, true},
		{"uptime went back", 20 * time.Second, boot, -time.Minute, 0, false},
	} {
		age, known := m.Age(m.Written.Add(c.wall), c.boot, m.Uptime+c.uptime)
		if known != c.known || known && age != c.want {
			t.Errorf("%s: got %v %v, want %v %v", c.what, age, known, c.want, c.known)
		}
	}
}

func FuzzRead(f *testing.F) {
	w, path := create(f)
	must(f, w.Add([]snapshot.Statement{statement(1)}))
	must(f, w.Mark(mark(1)))
	must(f, w.Close())
	whole, err := os.ReadFile(path)
	must(f, err)
	f.Add(whole)
	f.Add(whole[:60])
	f.Add([]byte{})
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(dir, "snapshot")
		must(t, os.WriteFile(path, content, 0o600))
		got, c, err := read(t, path)
		if err != nil && (len(got) > 0 || c.Marked) {
			t.Errorf("refused, and %d statements handed out: %v", len(got), err)
		}
		if err == nil && len(got) != c.Statements {
			t.Errorf("%d statements, told %d", len(got), c.Statements)
		}
	})
}

// FuzzRecords reads payloads that no checksum protects.
func FuzzRecords(f *testing.F) {
	f.Add(snapshot.EncodeStatement(statement(1)))
	f.Add(snapshot.EncodeMark(mark(1)))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if all, err := snapshot.DecodeStatements(payload); err == nil {
			var again []byte
			for _, s := range all {
				again = append(again, snapshot.EncodeStatement(s)...)
			}
			if back, err := snapshot.DecodeStatements(again); err != nil || !slices.Equal(back, all) {
				t.Errorf("%v became %v, %v", all, back, err)
			}
		}
		if m, err := snapshot.DecodeMark(payload); err == nil {
			if back, err := snapshot.DecodeMark(snapshot.EncodeMark(m)); err != nil || back != m {
				t.Errorf("%v became %v, %v", m, back, err)
			}
		}
	})
}
