package snapshot

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
)

// Contents is what Read found.
type Contents struct {
	Mark       Mark
	Marked     bool // there is a mark; without one nothing is complete
	Statements int
	Torn       bool // the end was cut off by a crash

	version uint32
	end     int64 // of the last whole frame
	crc     uint32
	size    int64 // of the file
}

const readBuffer = 1 << 20

// Read checks the whole file, and only then calls apply with its statements, some at a time; the slice is only valid until apply
// returns. Errors: ErrDamaged, ErrForeign, ErrVersion, ErrExposed, those of the file system (os.ErrNotExist: there is none), and apply's.
func Read(path string, id Identity, apply func([]Statement) error) (Contents, error) {
	f, err := open(path, os.O_RDONLY)
	if err != nil {
		return Contents{}, err
	}
	defer f.Close() //nolint:errcheck // only read
	return read(f, id, apply)
}

func read(f *os.File, id Identity, apply func([]Statement) error) (Contents, error) {
	info, err := f.Stat()
	if err != nil {
		return Contents{}, err
	}
	c, err := scan(f, id, nil)
	c.size = info.Size()
	if err != nil || apply == nil {
		return c, err
	}
	// What is appended meanwhile was not checked.
	again, err := scan(io.NewSectionReader(f, 0, c.end), id, apply)
	if err == nil && (again.end != c.end || again.crc != c.crc) {
		err = fmt.Errorf("%w: it changed while it was read", ErrDamaged)
	}
	if err != nil {
		return Contents{}, err
	}
	return c, nil
}

func scan(r io.Reader, id Identity, apply func([]Statement) error) (c Contents, err error) {
	br := bufio.NewReaderSize(r, readBuffer)
	wrote, crc, err := readHeader(br, id)
	if err != nil {
		return Contents{}, err
	}
	c.version = wrote
	var batch []Statement
	f := frames{r: br, crc: crc, good: headerBytes}
	for {
		kind, payload, err := f.next()
		c.end, c.crc = f.good, f.crc
		switch {
		case errors.Is(err, io.EOF):
			return c, nil
		case errors.Is(err, errTorn):
			c.Torn = true
			return c, nil
		case err != nil:
			return Contents{}, err
		}
		switch kind {
		case kindStatements:
			var n int
			if apply == nil {
				n, err = count(payload)
			} else {
				batch = batch[:0]
				err = statements(payload, func(s Statement) { batch = append(batch, s) })
				n = len(batch)
			}
			if err == nil && apply != nil {
				if err := apply(batch); err != nil {
					return Contents{}, err
				}
			}
			c.Statements += n
		case kindMark:
			c.Mark, err = decodeMark(payload, wrote)
			c.Marked = true
		default:
			err = fmt.Errorf("a frame of the unknown kind %d", kind)
		}
		if err != nil {
			return Contents{}, fmt.Errorf("%w: before offset %d: %w", ErrDamaged, f.good, err)
		}
	}
}
