//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package snapshot

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes an exclusive lock, which goes with the file's last descriptor. It is false if somebody else has it. A file system
// without locks, as some of a network are, has nobody who could: there the file is used without.
func tryLock(f *os.File) bool {
	return !errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}
