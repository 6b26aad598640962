//go:build unix

package owner

import (
	"os"
	"syscall"
)

// Of returns the user ID of the file's owner; false where files have none.
func Of(info os.FileInfo) (uid int, known bool) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(s.Uid), true
}
