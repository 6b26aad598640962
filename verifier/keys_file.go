package verifier

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/quash-auth/quash/internal/jws"
)

// filePoll is how often a key set file is looked at.
const filePoll = time.Second

// fileReader reads a JWK Set from a file. A new file should be put in place by renaming; if it is caught half-written it
// does not parse, the old set stays, and the next look finds the rest.
type fileReader struct {
	path string
	mu   sync.Mutex  // guards seen
	seen os.FileInfo // of the newest reading
}

func (f *fileReader) read(_ context.Context, allowed jws.AlgSet) (*jws.KeySet, error) {
	info, err := os.Stat(f.path) // before it is opened: opening a pipe would wait for its writer
	if err != nil {
		return nil, fmt.Errorf("open the JWK Set file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open the JWK Set file: %s is not a regular file", f.path)
	}
	file, err := os.Open(f.path)
	if err != nil {
		return nil, fmt.Errorf("open the JWK Set file: %w", err)
	}
	defer file.Close() //nolint:errcheck // read only
	doc, err := io.ReadAll(io.LimitReader(file, jws.MaxKeySetBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the JWK Set file: %w", err)
	}
	f.mu.Lock()
	f.seen = info
	f.mu.Unlock()
	set, err := jws.ParseKeySet(doc, allowed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	return set, nil
}

func (f *fileReader) changed() bool {
	info, err := os.Stat(f.path)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil || f.seen == nil {
		return f.seen != nil // gone: reading it says why
	}
	return !os.SameFile(info, f.seen) || info.Size() != f.seen.Size() || !info.ModTime().Equal(f.seen.ModTime())
}

func (f *fileReader) poll() time.Duration { return filePoll }
