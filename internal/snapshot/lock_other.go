//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package snapshot

import "os"

// tryLock has no lock to take here.
func tryLock(*os.File) bool { return true }
