package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// Writer appends to a snapshot. It is safe for concurrent use. After an error it writes nothing more: Err says which one.
type Writer struct {
	own  *File // closed with the Writer
	path string
	id   Identity

	mu      sync.Mutex // guards what follows
	version uint32     // of the file
	f       *os.File
	crc     uint32
	size    int64
	compact int64 // the size after the last compaction
	payload []byte
	out     []byte
	err     error

	compacting sync.Mutex // one at a time; taken before mu
}

// create makes an empty snapshot beside path. What a crash has left of an earlier one goes.
func create(path string, id Identity) (*os.File, error) {
	name := path + ".next"
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	err = claim(f, name) // before anybody knows of it: the lock comes along to its real name
	if err == nil {
		_, err = f.Write(header(id))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(name))
	}
	return f, nil
}

// ErrClosed: the Writer was closed.
var ErrClosed = errors.New("the snapshot is closed")

// Add appends statements.
func (w *Writer) Add(batch []Statement) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out, w.payload = w.out[:0], w.payload[:0]
	for n := range batch {
		w.payload = appendStatement(w.payload, &batch[n])
		if len(w.payload) > maxPayload/2 {
			w.seal()
		}
	}
	if len(w.payload) > 0 {
		w.seal()
	}
	return w.flush()
}

func (w *Writer) seal() {
	if len(w.payload) > maxPayload && w.err == nil { // no reader would take it, nor the whole file
		w.err = fmt.Errorf("write the snapshot: a statement of %d bytes is too long", len(w.payload))
	}
	w.out, w.crc = frame(w.out, w.crc, kindStatements, w.payload)
	w.payload = w.payload[:0]
}

// Mark says that everything appended so far is complete. It returns an error if anything could not be written: then the last
// mark in the file stays the last.
func (w *Writer) Mark(m Mark) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out, w.crc = frame(w.out[:0], w.crc, kindMark, m.encode(w.version))
	return w.flush()
}

// flush hands the sealed frames to the system; the lock is held.
func (w *Writer) flush() error {
	if w.err == nil && len(w.out) > 0 {
		n, err := w.f.Write(w.out)
		w.size += int64(n)
		if err != nil {
			w.err = fmt.Errorf("write the snapshot: %w", err)
		}
	}
	return w.err
}

// Fail stops the writing for a reason of the caller's; the file keeps its last mark.
func (w *Writer) Fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

// Err is why nothing is written any more, or nil.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Close syncs and closes the file, and lets another process have it. It waits for a compaction.
func (w *Writer) Close() error {
	w.compacting.Lock()
	defer w.compacting.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if errors.Is(w.err, ErrClosed) {
		return nil
	}
	err := errors.Join(w.f.Sync(), unlock(w.f), w.own.Close())
	w.err = ErrClosed
	return err
}
