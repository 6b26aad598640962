package snapshot

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
)

// compactAbove is the growth that makes a compaction worth while.
const compactAbove = 4 << 20

// Due reports whether the file has outgrown what it held after the last compaction.
func (w *Writer) Due() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err == nil && w.size > 2*w.compact+compactAbove
}

// Compact writes the statements that live is true for into a new file and puts it in the place of the old one. Add and Mark go on
// meanwhile; they wait only while what they added since is copied. On an error the old file stays in use, and nothing is Due before it has
// grown some more.
func (w *Writer) Compact(live func(Statement) bool) error {
	w.compacting.Lock()
	defer w.compacting.Unlock()
	w.mu.Lock()
	upTo, err := w.size, w.err
	w.mu.Unlock()
	if err != nil {
		return err
	}
	if err := w.exchange(upTo, live); err != nil {
		w.mu.Lock()
		w.compact = max(w.compact, w.size/2)
		w.mu.Unlock()
		return fmt.Errorf("compact the snapshot: %w", err)
	}
	return nil
}

func (w *Writer) exchange(upTo int64, live func(Statement) bool) error {
	next, err := create(w.path, w.id)
	if err != nil {
		return err
	}
	c := copier{to: &Writer{f: next, crc: headerCRC(w.id), size: headerBytes}, live: live}
	if err = c.copy(w.path, w.id, upTo); err == nil {
		err = next.Sync() // a power cut after the exchange may cost the end of the file, not all of it
	}
	if err == nil {
		w.mu.Lock()
		err = c.rest(w)
		w.mu.Unlock()
	}
	if c.old != nil {
		_ = c.old.Close() // only read
	}
	if err != nil {
		err = errors.Join(err, next.Close(), os.Remove(next.Name()))
	}
	return err
}

// copier carries the frames of one file over into another.
type copier struct {
	to   *Writer
	live func(Statement) bool
	in   frames
	old  *os.File
	mark []byte // the last one, not copied yet
	kept []Statement
}

// copy takes the frames up to an offset that is the end of one.
func (c *copier) copy(path string, id Identity, upTo int64) (err error) {
	if c.old, err = open(path, os.O_RDONLY); err != nil {
		return err
	}
	br := bufio.NewReaderSize(c.old, readBuffer)
	_, crc, err := readHeader(br, id)
	if err != nil {
		return err
	}
	c.in = frames{r: br, crc: crc, good: headerBytes}
	return c.through(upTo)
}

func (c *copier) through(upTo int64) error {
	for c.in.good < upTo {
		kind, payload, err := c.in.next()
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: it is shorter than what was written", ErrDamaged)
		}
		if err != nil {
			return err
		}
		if kind == kindMark {
			c.mark = append(c.mark[:0], payload...)
			continue
		}
		c.kept = c.kept[:0]
		err = statements(payload, func(s Statement) {
			if c.live(s) {
				c.kept = append(c.kept, s)
			}
		})
		if err == nil {
			err = c.to.Add(c.kept)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// same makes sure that what was read, and what is replaced, is the file that w writes: somebody may have moved that away, and another
// process begun one at its place.
func (c *copier) same(w *Writer) error {
	mine, err1 := w.f.Stat()
	read, err2 := c.old.Stat()
	there, err3 := os.Stat(w.path)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	if !os.SameFile(mine, read) || !os.SameFile(mine, there) {
		return fmt.Errorf("%w: it was exchanged while it was written", ErrInUse)
	}
	return nil
}

// rest copies what was added since, and exchanges the files. The lock of w is held.
func (c *copier) rest(w *Writer) error {
	if w.err == nil {
		w.err = c.same(w)
	}
	if w.err != nil {
		return w.err
	}
	if err := c.through(w.size); err != nil {
		return err
	}
	if len(c.mark) > 0 {
		c.to.out, c.to.crc = frame(c.to.out[:0], c.to.crc, kindMark, c.mark)
		if err := c.to.flush(); err != nil {
			return err
		}
	}
	if err := os.Rename(c.to.f.Name(), w.path); err != nil {
		return err
	}
	_ = w.f.Close() // its name is gone, and with it what it held
	w.f, w.crc, w.size, w.compact, w.version = c.to.f, c.to.crc, c.to.size, c.to.size, version
	return nil
}
