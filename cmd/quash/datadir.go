package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// dataDir is a directory that this process alone uses.
type dataDir struct {
	path string
	lock *os.File
}

// openDataDir creates the directory if need be (0700: it holds signing keys) and
// locks it.
func openDataDir(path string) (*dataDir, error) {
	if path == "" {
		return nil, usagef("--data-dir", "is empty: name a directory")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, usagef("--data-dir", "%q: %v", path, err)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, fmt.Errorf("--data-dir %s can not be created (%w): choose another directory", path, err)
	}
	info, err := os.Stat(abs)
	if err != nil {
		return nil, fmt.Errorf("--data-dir %s can not be looked at (%w): choose another directory", path, err)
	}
	if info.Mode().Perm()&0o002 != 0 {
		return nil, fmt.Errorf("--data-dir %s may be written by everybody, who could exchange the signing keys: chmod o-w it, and look for files that are not yours", path)
	}
	f, err := os.OpenFile(filepath.Join(abs, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--data-dir %s is not writable (%w): choose another directory or mend its permissions", path, err)
	}
	ok, err := tryLock(f)
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("locking --data-dir %s: %w", path, err)
	}
	if !ok {
		_ = f.Close()
		return nil, fmt.Errorf("--data-dir %s is in use by another quash: stop that one, or choose another directory with --data-dir", path)
	}
	return &dataDir{path: abs, lock: f}, nil
}

func (d *dataDir) join(names ...string) string {
	return filepath.Join(append([]string{d.path}, names...)...)
}

// Close releases the lock. The file stays: removing it would let a third process
// lock a file that nobody else sees.
func (d *dataDir) Close() error { return d.lock.Close() }
