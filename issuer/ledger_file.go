package issuer

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/quash-auth/quash/cache"
	"github.com/quash-auth/quash/internal/snapshot"
)

// checkLedger looks at the place of the file alone.
func (i *Issuer) checkLedger() error {
	path := i.cfg.Ledger
	if path == "" {
		return nil
	}
	if dir, err := os.Stat(filepath.Dir(path)); err != nil || !dir.IsDir() {
		return fmt.Errorf("%w: Ledger: %q is not in a directory that exists: make the directory", ErrConfig, path)
	}
	if file, err := os.Stat(path); err == nil && !file.Mode().IsRegular() {
		return fmt.Errorf("%w: Ledger: %q is not a file", ErrConfig, path)
	}
	return nil
}

// openLedger takes the file for this replica and puts into force what it holds. A file that cannot be used is kept under another name; what
// it held can then not be given back, which is logged and nothing else. One that another process writes, or that changes meanwhile, is
// an error.
func (i *Issuer) openLedger() error {
	l := &i.ledger
	if l.path = i.cfg.Ledger; l.path == "" {
		return nil
	}
	own, err := snapshot.Own(l.path) // before it is read: another process may be about to append to it
	if err == nil {
		if l.file, err = i.readLedger(own); err != nil {
			err = errors.Join(err, own.Close())
		}
	}
	if err != nil {
		return fmt.Errorf("%w: Ledger: %w", ErrConfig, err)
	}
	return nil
}

func (i *Issuer) readLedger(own *snapshot.File) (*snapshot.Writer, error) {
	id, inForce := i.ledgerID(), false
	contents, err := own.Read(id, func(batch []snapshot.Statement) error {
		inForce = true
		held := make([]cache.Statement, len(batch))
		for n, s := range batch {
			held[n] = restored(s)
		}
		return i.deny.Apply(held)
	})
	if err == nil {
		if contents.Torn {
			i.log.Warn("the ledger's last words were cut off by a crash", "statements", contents.Statements)
		}
		var file *snapshot.Writer
		if file, err = own.Append(); err == nil {
			return file, nil
		}
	}
	if inForce { // a new file would lack what the denylist holds by now
		return nil, err
	}
	is := func(other error) bool { return errors.Is(err, other) }
	if slices.ContainsFunc([]error{snapshot.ErrDamaged, snapshot.ErrForeign, snapshot.ErrVersion, snapshot.ErrExposed}, is) {
		kept, refuseErr := own.Refuse()
		i.log.Error("the ledger cannot be used, beginning a new one, from which nothing of before is given back; the file is kept under another name: mend it, move it back and restart", "error", err, "file", kept)
		err = refuseErr
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	return own.Create(id)
}

func (i *Issuer) ledgerID() snapshot.Identity {
	return sha256.Sum256([]byte("issuer ledger\n" + i.cfg.Issuer))
}

func restored(s snapshot.Statement) cache.Statement {
	return cache.Statement{Scope: cache.Scope(s.Scope), Issuer: s.Issuer, Key: s.Key, Before: s.Before, Gen: s.Gen, Until: s.Until, Sequence: s.Sequence}
}

// living: some token may still be covered. By the server's clock where that is behind: one that was set ahead here must not forget.
func (i *Issuer) living(s snapshot.Statement) bool {
	now := i.cfg.Now()
	if asOf := i.feed.Freshness(now).AsOf; asOf.Before(now) {
		now = asOf
	}
	return s.Until >= now.Add(-5*time.Minute).Unix()
}
