package snapshot

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// File is a path that this process alone writes to, from Own until Close. It is not safe for concurrent use.
type File struct {
	path string
	lock *os.File // beside it, because the file itself is exchanged when it is compacted; nil: closed

	data *os.File // what Read has read, until Append goes on with it; locked
	id   Identity
	read Contents
}

// Own takes path for this process alone, whether there is a file or not: of two processes that have both read it, one would lack what the
// other appends. The lock is a file beside it, path and ".lock", which stays. It ends with Close, or with the process, however that
// ends. ErrInUse: another process has it. Who only reads needs none of this.
func Own(path string) (*File, error) {
	lock, err := takeLock(path)
	if err != nil {
		return nil, err
	}
	return &File{path: path, lock: lock}, nil
}

// Read is like the function, and prepares for Append. ErrInUse: a process that knows no lock file writes to it.
func (f *File) Read(id Identity, apply func([]Statement) error) (Contents, error) {
	if err := f.drop(); err != nil {
		return Contents{}, err
	}
	data, err := open(f.path, os.O_RDWR)
	if err != nil {
		return Contents{}, err
	}
	var c Contents
	if err = claim(data, f.path); err == nil {
		c, err = read(data, id, apply)
	}
	if err != nil {
		return Contents{}, errors.Join(err, unlock(data))
	}
	f.data, f.id, f.read = data, id, c
	return c, nil
}

// Append goes on with what Read has read; what a crash left of a last frame is cut off. The Writer's Close is f's, too. ErrInUse: somebody
// has changed or exchanged the file since. After an error f is as after Own.
func (f *File) Append() (*Writer, error) {
	if f.data == nil {
		return nil, errors.New("nothing was read that could be gone on with")
	}
	if err := f.unchanged(); err != nil {
		return nil, errors.Join(err, f.drop())
	}
	w := &Writer{own: f, path: f.path, id: f.id, version: f.read.version, f: f.data, crc: f.read.crc, size: f.read.end, compact: headerBytes}
	f.data = nil
	return w, nil
}

func (f *File) unchanged() error {
	info, err := f.data.Stat()
	if err != nil {
		return err
	}
	if err := exposed(info); err != nil {
		return err
	}
	if err := at(f.data, f.path); err != nil {
		return err
	}
	if info.Size() != f.read.size {
		return fmt.Errorf("%s: %w: it has changed since it was read", f.path, ErrInUse)
	}
	if err := f.data.Truncate(f.read.end); err != nil {
		return err
	}
	_, err = f.data.Seek(f.read.end, io.SeekStart)
	return err
}

// Create starts a new file in place of whatever is there. The Writer's Close is f's, too. ErrInUse: a process that knows no lock file
// writes to that.
func (f *File) Create(id Identity) (*Writer, error) {
	if err := errors.Join(f.drop(), free(f.path)); err != nil {
		return nil, err
	}
	next, err := create(f.path, id)
	if err != nil {
		return nil, err
	}
	if err := os.Rename(next.Name(), f.path); err != nil {
		return nil, errors.Join(err, next.Close(), os.Remove(next.Name()))
	}
	return &Writer{own: f, path: f.path, id: id, version: version, f: next, crc: headerCRC(id), size: headerBytes, compact: headerBytes}, nil
}

// Refuse puts a file that cannot be used out of the way: under its name and ".refused", which it returns. ErrInUse: a process that knows no
// lock file uses it, and it was left where it is.
func (f *File) Refuse() (kept string, err error) {
	if err := errors.Join(f.drop(), free(f.path)); err != nil {
		return "", err
	}
	kept = f.path + ".refused"
	return kept, os.Rename(f.path, kept)
}

// Close lets another process have the path. It may be called more than once.
func (f *File) Close() error {
	if f.lock == nil {
		return nil
	}
	err := errors.Join(f.drop(), unlock(f.lock))
	f.lock = nil
	return err
}

// drop forgets what was read.
func (f *File) drop() error {
	if f.data == nil {
		return nil
	}
	err := unlock(f.data)
	f.data = nil
	return err
}
