//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package snapshot

import (
	"errors"
	"os"
	"syscall"
)

const lockFlags = os.O_RDWR | os.O_CREATE | syscall.O_NOFOLLOW

var flock = syscall.Flock // tests let it fail

// tryLock takes an exclusive lock, which goes with the file's last descriptor, at the latest when the process ends. It is false if somebody
// else has it.
func tryLock(f *os.File) (bool, error) {
	for {
		switch err := flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		default:
			return err == nil, err
		}
	}
}

func dropLock(f *os.File) {
	for errors.Is(flock(int(f.Fd()), syscall.LOCK_UN), syscall.EINTR) {
	}
}
