//go:build unix

package snapshot

import (
	"fmt"
	"os"
	"syscall"
)

func foreignOwner(info os.FileInfo) error {
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != os.Geteuid() {
		return fmt.Errorf("%w: it belongs to user %d, this process is user %d", ErrExposed, s.Uid, os.Geteuid())
	}
	return nil
}
