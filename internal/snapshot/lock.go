package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// ErrInUse: another process writes to the file. Two would destroy it, as one file belongs to one node.
var ErrInUse = errors.New("snapshot that another process writes")

// claim takes the file for this writer alone, until it is closed, and makes sure that it is still the one at path.
func claim(f *os.File, path string) error {
	if !tryLock(f) {
		return fmt.Errorf("%w: give each a file of its own", ErrInUse)
	}
	here, err := f.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(path)
	if err == nil && !os.SameFile(here, there) {
		err = fmt.Errorf("%w: it was exchanged just now", ErrInUse)
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
	defer f.Close() //nolint:errcheck // only locked
	if !tryLock(f) {
		return fmt.Errorf("%w: give each a file of its own", ErrInUse)
	}
	return nil
}

// Refuse puts a file that cannot be used out of the way: under its name and ".refused", which it returns. ErrInUse: another process
// uses it, and it was left where it is.
func Refuse(path string) (kept string, err error) {
	if err := free(path); err != nil {
		return "", err
	}
	kept = path + ".refused"
	return kept, os.Rename(path, kept)
}
