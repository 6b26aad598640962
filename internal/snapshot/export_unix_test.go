//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package snapshot

import "syscall"

// SetFlock puts another system call in the place of flock.
func SetFlock(f func(fd, how int) error) (restore func()) {
	flock = f
	return func() { flock = syscall.Flock }
}

// LockFD is the descriptor of the lock file.
func (f *File) LockFD() int { return int(f.lock.Fd()) }
