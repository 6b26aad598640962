package snapshot

import (
	"errors"
	"fmt"
	"os"

	"github.com/quash-auth/quash/internal/owner"
)

// ErrExposed: somebody else than this process's user may have written the file.
var ErrExposed = errors.New("snapshot that others may have written")

// open refuses what others may have written: a forged mark would let revoked tokens in, forged statements log people out.
func open(path string, flag int) (*os.File, error) {
	info, err := os.Stat(path) // before it is opened: opening a pipe would wait for its other end
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil {
		err = exposed(info)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func exposed(info os.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("%w: its mode is %#o, not 0600", ErrExposed, mode)
	}
	if uid, known := owner.Of(info); known && uid != os.Geteuid() {
		return fmt.Errorf("%w: it belongs to user %d, this process is user %d", ErrExposed, uid, os.Geteuid())
	}
	return nil
}
