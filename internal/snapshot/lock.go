package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
	"unicode"
)

// ErrInUse: another process writes to the file. Two would destroy it, as one file belongs to one node.
var ErrInUse = errors.New("another process writes this file")

// takeLock opens the lock file of path, makes it if need be, and locks it. Nobody ever removes it: two processes could then lock two.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", lockFlags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: it must be a file of this process's user, in a directory where this process may make files", err)
	}
	if err := lockFile(f, path); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	sign(f)
	return f, nil
}

func lockFile(f *os.File, path string) error {
	here, err := f.Stat()
	if err != nil {
		return err
	}
	if !here.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file: remove it", f.Name())
	}
	if err := lock(f, path); err != nil {
		return err
	}
	there, err := os.Lstat(f.Name())
	if err != nil || !os.SameFile(here, there) {
		return errors.Join(fmt.Errorf("%s: %w: its lock file was removed just now; start again, and leave %s where it is", path, ErrInUse, f.Name()), err)
	}
	return nil
}

// lock takes f, which is path or stands for it. An owner of this instant may not have signed its lock file yet, or an earlier one's name is
// still there: it has one turn to do so, and a second in all.
func lock(f *os.File, path string) error {
	for turns := 0; ; turns++ {
		ok, err := tryLock(f)
		if err != nil {
			return fmt.Errorf("lock %s: %w: without a lock two processes could destroy %s; put it on a file system that has locks, such as a local disk",
				f.Name(), err, path)
		}
		if ok {
			return nil
		}
		owner := signed(f, path)
		if f.Name() == path || turns == maxTurns || turns > 0 && owner != "" {
			return fmt.Errorf("%s: %w%s: give each process a path of its own; if that one is about to end, start this one again", path, ErrInUse, owner)
		}
		time.Sleep(turn)
	}
}

const (
	turn     = 20 * time.Millisecond
	maxTurns = 50
)

// unlock also lets go of what a child has of f that is being started just now.
func unlock(f *os.File) error {
	dropLock(f)
	return f.Close()
}

// sign says in a lock file whose it is, for people; on a full disk nothing does. What is not such a file stays as it is.
func sign(f *os.File) {
	if was := content(f); was != "" && !strings.HasPrefix(was, signature) {
		return
	}
	host, err := os.Hostname()
	if err != nil {
		host = "this machine"
	}
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt(fmt.Appendf(nil, "%s%d on %s\n", signature, os.Getpid(), host), 0)
	}
}

const signature = "process "

func content(f *os.File) string {
	b := make([]byte, 200)
	n, _ := f.ReadAt(b, 0)
	return string(b[:n])
}

// signed is what the owner wrote, in parentheses, or nothing.
func signed(f *os.File, path string) string {
	if f.Name() == path {
		return "" // no lock file
	}
	text, _, whole := strings.Cut(content(f), "\n")
	if !whole || !strings.HasPrefix(text, signature) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return " (" + text + ")"
}

// claim locks the file itself, too: programs that know no lock file lock that, and through links and mounts one file has several paths.
// It makes sure that f is still the one at path.
func claim(f *os.File, path string) error {
	if err := lock(f, path); err != nil {
		return err
	}
	return at(f, path)
}

// at makes sure that f is what is at path.
func at(f *os.File, path string) error {
	here, err := f.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(path)
	if err == nil && !os.SameFile(here, there) {
		err = fmt.Errorf("%s: %w: it was exchanged just now", path, ErrInUse)
	}
	return err
}

// free is ErrInUse if a process writes to what is at path.
func free(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0) // a network file system locks what can be written only
	if errors.Is(err, fs.ErrPermission) {
		f, err = os.Open(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err // whose it is cannot be told
	}
	err = lock(f, path)
	return errors.Join(err, unlock(f))
}
