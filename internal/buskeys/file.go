package buskeys

import (
	"fmt"
	"os"
	"path/filepath"
)

// WriteSecret replaces a file in one step, so that a reader finds the old or the new one,
// whole, and nobody else may read it.
func WriteSecret(path string, text []byte) error { return write(path, text, 0o600) }

// WritePublic is WriteSecret for what everybody may read.
func WritePublic(path string, text []byte) error { return write(path, text, 0o644) }

func write(path string, text []byte, mode os.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = tmp.Write(text)
	if err == nil {
		err = tmp.Chmod(mode)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name()) // what matters is why it was not written
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
