//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package snapshot_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/quash-auth/quash/internal/snapshot"
)

const (
	holderEnv   = "QUASH_TEST_HOLD"
	beginnerEnv = "QUASH_TEST_BEGIN"
)

// TestHolder is another process, if it is told to be one: it writes to a file, or is about to make one, until its input ends.
func TestHolder(t *testing.T) {
	path := os.Getenv(holderEnv)
	if path == "" {
		return
	}
	f := own(t, path)
	if os.Getenv(beginnerEnv) == "" {
		w, err := f.Create(id)
		must(t, err)
		must(t, w.Add([]snapshot.Statement{statement(1)}))
		must(t, w.Mark(mark(1)))
	}
	fmt.Println("held")
	_, _ = os.Stdin.Read(make([]byte, 1)) // its end is what is waited for
}

// holder is another process that has the path, with or without a file.
func holder(t *testing.T, path, beginner string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHolder$")
	cmd.Env = append(os.Environ(), holderEnv+"="+path, beginnerEnv+"="+beginner)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	if _, err := io.ReadFull(out, make([]byte, len("held"))); err != nil {
		t.Fatalf("the other process does not hold it: %v", err)
	}
	return cmd
}

// end is the process's sudden one.
func end(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	must(t, cmd.Process.Kill()) // SIGKILL
	_ = cmd.Wait()
}

// refusal is that of an owner's path: nothing is made there, and the message says who it is and what to do.
func refusal(t *testing.T, what, path string, pid int) {
	t.Helper()
	f, err := snapshot.Own(path)
	if !errors.Is(err, snapshot.ErrInUse) {
		t.Fatalf("%s: owned twice: %v, %v", what, f, err)
	}
	for _, part := range []string{path, fmt.Sprintf("process %d on ", pid), "a path of its own"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s: the message lacks %q: %v", what, part, err)
		}
	}
}

// TestFirstStartsAtOnce: of two processes that find no file one makes it, and the other one knows before it has looked.
func TestFirstStartsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snapshot")
	other := holder(t, path, "yes")
	refusal(t, "a first start", path, other.Process.Pid)
	if _, err := os.Stat(path); err == nil {
		t.Error("there is a file")
	}
	end(t, other)
	w := createAt(t, path)
	must(t, w.Add([]snapshot.Statement{statement(1)}))
	must(t, w.Close())
	if all, _, err := read(t, path); err != nil || len(all) != 1 {
		t.Errorf("%d statements, %v", len(all), err)
	}
}

// TestOneWriter: what one process writes no other reads to go on with; what a killed one left anybody may.
func TestOneWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snapshot")
	other := holder(t, path, "")
	refusal(t, "a live process's", path, other.Process.Pid)
	if all, _, err := read(t, path); err != nil || len(all) != 1 {
		t.Errorf("who only reads: %d statements, %v", len(all), err)
	}
	end(t, other)
	w := goOn(t, path)
	refusal(t, "our own", path, os.Getpid())
	must(t, w.Add([]snapshot.Statement{statement(2)}))
	must(t, w.Compact(func(snapshot.Statement) bool { return true }))
	refusal(t, "our own, compacted", path, os.Getpid())
	must(t, w.Add([]snapshot.Statement{statement(3)}))
	must(t, w.Close())
	if all, _, err := read(t, path); err != nil || len(all) != 3 {
		t.Errorf("%d statements, %v", len(all), err)
	}
	f := own(t, path)
	kept, err := f.Refuse()
	must(t, err)
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
	w, err = f.Create(id)
	must(t, err)
	must(t, w.Close())
}

// TestNotSignedYet: who has the lock signs after it. The one that it keeps out waits for that name, whether nobody's or an earlier one's was there.
func TestNotSignedYet(t *testing.T) {
	for _, before := range []string{"", "process 1 on an-earlier-host\n"} {
		synctest.Test(t, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "snapshot")
			lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
			must(t, err)
			defer func() { must(t, lock.Close()) }()
			must(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
			_, err = lock.WriteString(before)
			must(t, err)
			kept := make(chan error)
			go func() {
				_, err := snapshot.Own(path)
				kept <- err
			}()
			synctest.Wait() // it has met the lock
			must(t, lock.Truncate(0))
			_, err = lock.WriteAt([]byte("process 7 on a-host\n"), 0)
			must(t, err)
			if err := <-kept; !errors.Is(err, snapshot.ErrInUse) || !strings.Contains(err.Error(), "(process 7 on a-host)") {
				t.Errorf("after %q: %v", before, err)
			}
		})
	}
}

// TestNobodyReadsWhatIsCompactedUnderHim: one process compacts, appends and ends; the other one has what it wrote, or was refused.
func TestNobodyReadsWhatIsCompactedUnderHim(t *testing.T) {
	first, path := create(t)
	must(t, first.Add([]snapshot.Statement{statement(1), statement(2)}))
	second, err := snapshot.Own(path)
	if err == nil { // what must not be
		_, err = second.Read(id, nil)
	}
	early := err == nil
	must(t, first.Compact(func(s snapshot.Statement) bool { return s.Key != statement(1).Key }))
	must(t, first.Add([]snapshot.Statement{statement(3)}))
	must(t, first.Close())
	if !early {
		second = own(t, path)
		_, err = second.Read(id, nil)
		must(t, err)
	}
	w, err := second.Append()
	must(t, err)
	must(t, w.Add([]snapshot.Statement{statement(4)}))
	must(t, w.Close())
	all, _, err := read(t, path)
	if err != nil || len(all) != 3 || all[0].Key != statement(2).Key || all[1].Key != statement(3).Key || all[2].Key != statement(4).Key {
		t.Errorf("%v, %v", all, err)
	}
}

// TestProgramsWithoutALockFile: an older program locks the file itself, and so does who comes through a link.
func TestProgramsWithoutALockFile(t *testing.T) {
	w, path := create(t)
	must(t, w.Add([]snapshot.Statement{statement(1)}))
	must(t, w.Mark(mark(1)))
	refused := func(what, path string) {
		t.Helper()
		f := own(t, path)
		if _, err := f.Read(id, nil); !errors.Is(err, snapshot.ErrInUse) {
			t.Errorf("%s: read: %v", what, err)
		}
		if _, err := f.Append(); err == nil {
			t.Errorf("%s: gone on with", what)
		}
		if _, err := f.Create(id); !errors.Is(err, snapshot.ErrInUse) {
			t.Errorf("%s: replaced: %v", what, err)
		}
		if _, err := f.Refuse(); !errors.Is(err, snapshot.ErrInUse) {
			t.Errorf("%s: moved away: %v", what, err)
		}
		must(t, f.Close())
	}
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(path, link))
	refused("through a link", link)
	must(t, w.Close())

	older, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	must(t, syscall.Flock(int(older.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
	refused("an older program", path)
	must(t, older.Close())
	w = goOn(t, path)
	if older, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(older.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Errorf("an older program would go on with it: %v", err)
	}
	must(t, older.Close())
	must(t, w.Close())
	if all, _, err := read(t, path); err != nil || len(all) != 1 {
		t.Errorf("%d statements, %v", len(all), err)
	}
}

// TestSystemsAnswers: only one means that somebody else has the lock.
func TestSystemsAnswers(t *testing.T) {
	w, path := create(t)
	must(t, w.Add([]snapshot.Statement{statement(1)}))
	must(t, w.Close())
	before, err := os.ReadFile(path)
	must(t, err)
	interrupted := 0
	restore := snapshot.SetFlock(func(fd, how int) error {
		if interrupted++; interrupted%3 != 0 {
			return syscall.EINTR
		}
		return syscall.Flock(fd, how)
	})
	defer restore()
	w = goOn(t, path)
	if interrupted < 6 {
		t.Errorf("asked %d times, want at least three for each lock", interrupted)
	}
	must(t, w.Close())
	for _, errno := range []syscall.Errno{syscall.ENOLCK, syscall.ENOTSUP, syscall.ENOSYS, syscall.EINVAL, syscall.EIO} {
		snapshot.SetFlock(func(int, int) error { return errno })
		_, err := snapshot.Own(path)
		if errors.Is(err, snapshot.ErrInUse) || !errors.Is(err, errno) {
			t.Errorf("%v: got %v", errno, err)
			continue
		}
		for _, part := range []string{path + ".lock", "put it on a file system that has locks"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%v: the message lacks %q: %v", errno, part, err)
			}
		}
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the file has changed, %v", err)
	}
}

// TestLetGo: who closes has let go, although a child that is being started still has the descriptor.
func TestLetGo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snapshot")
	f := own(t, path)
	child, err := syscall.Dup(f.LockFD())
	must(t, err)
	defer func() { _ = syscall.Close(child) }() // its end
	must(t, f.Close())
	must(t, own(t, path).Close())
}

// TestLockFile: it is ours alone, stays, and is nothing else.
func TestLockFile(t *testing.T) {
	w, path := create(t)
	must(t, w.Close())
	lock := path + ".lock"
	info, err := os.Stat(lock)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v; want 0600, and that it stays", info, err)
	}
	fails := func(what, path, part string) {
		t.Helper()
		f, err := snapshot.Own(path)
		if err == nil || errors.Is(err, snapshot.ErrInUse) || !strings.Contains(err.Error(), path+".lock") || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v, %v", what, f, err)
		}
	}
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	must(t, os.WriteFile(victim, []byte("text"), 0o600))
	must(t, os.Symlink(victim, filepath.Join(dir, "a.lock")))
	must(t, os.Symlink(filepath.Join(dir, "new"), filepath.Join(dir, "b.lock")))
	must(t, os.Mkdir(filepath.Join(dir, "c.lock"), 0o700))
	must(t, syscall.Mkfifo(filepath.Join(dir, "d.lock"), 0o600))
	fails("a link", filepath.Join(dir, "a"), "")
	fails("a link to nothing", filepath.Join(dir, "b"), "")
	fails("a directory", filepath.Join(dir, "c"), "")
	fails("a pipe", filepath.Join(dir, "d"), "not a regular file")
	if _, err := os.Stat(filepath.Join(dir, "new")); err == nil {
		t.Error("a link's target was made")
	}
	readOnly := "/sys" // where not even root makes files
	if os.Geteuid() != 0 {
		readOnly = filepath.Join(dir, "read-only")
		must(t, os.Mkdir(readOnly, 0o500))
	}
	fails("a directory that cannot be written to", filepath.Join(readOnly, "snapshot"), "where this process may make files")

	// Somebody else's file of that name is locked, and not written to.
	must(t, os.WriteFile(filepath.Join(dir, "e.lock"), []byte("dependencies"), 0o600))
	must(t, own(t, filepath.Join(dir, "e")).Close())
	if text, err := os.ReadFile(filepath.Join(dir, "e.lock")); err != nil || string(text) != "dependencies" {
		t.Errorf("got %q, %v", text, err)
	}
}
