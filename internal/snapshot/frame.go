package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// The file is a header and frames. All integers are little endian.
//
//	header  magic[8] version u32 identity[32] crc u32
//	frame   length u32, crc u32 of kind and payload on top of the crc before, kind u8, payload
const (
	magic = "QUASHSNP"
	// version is 2 since marks hold a place in the stream. Raise it also when what an event says is understood otherwise than before: who
	// goes on from a place does not read again what was stored before it.
	version     = 2
	oldest      = 1 // of the versions that are read
	headerBytes = 8 + 4 + 32 + 4
	frameBytes  = 4 + 4 + 1
	maxPayload  = 1 << 20

	kindStatements = 1
	kindMark       = 2
)

var table = crc32.MakeTable(crc32.Castagnoli)

// Errors of Read, besides those of the file system.
var (
	// ErrDamaged: the file is not as it was written.
	ErrDamaged = errors.New("damaged snapshot")
	// ErrForeign: the file belongs to a node that is configured otherwise.
	ErrForeign = errors.New("snapshot of another configuration")
	// ErrVersion: the file was written by another version of this format.
	ErrVersion = errors.New("snapshot of another version")
)

// Identity says whose file it is.
type Identity [32]byte

func header(id Identity) []byte { return headerOf(version, id) }

func headerOf(version uint32, id Identity) []byte {
	b := append(make([]byte, 0, headerBytes), magic...)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = append(b, id[:]...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, table))
}

// headerCRC is what the first frame goes on from.
func headerCRC(id Identity) uint32 { return binary.LittleEndian.Uint32(header(id)[headerBytes-4:]) }

// readHeader returns the file's version, and the checksum that the first frame goes on from.
func readHeader(r io.Reader, id Identity) (wrote, crc uint32, err error) {
	b := make([]byte, headerBytes)
	if _, err := io.ReadFull(r, b); err != nil {
		return 0, 0, fmt.Errorf("%w: it ends within its header", ErrDamaged)
	}
	crc, wrote = binary.LittleEndian.Uint32(b[headerBytes-4:]), binary.LittleEndian.Uint32(b[8:])
	switch {
	case string(b[:8]) != magic:
		return 0, 0, fmt.Errorf("%w: it is no snapshot", ErrDamaged)
	case crc != crc32.Checksum(b[:headerBytes-4], table):
		return 0, 0, fmt.Errorf("%w: its header does not add up", ErrDamaged)
	case wrote < oldest || wrote > version:
		return 0, 0, fmt.Errorf("%w: version %d, this program reads %d to %d", ErrVersion, wrote, oldest, version)
	case Identity(b[12:44]) != id:
		return 0, 0, ErrForeign
	}
	return wrote, crc, nil
}

// frame appends one to b and returns the checksum to go on from.
func frame(b []byte, crc uint32, kind byte, payload []byte) ([]byte, uint32) {
	crc = crc32.Update(crc32.Update(crc, table, []byte{kind}), table, payload)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	b = binary.LittleEndian.AppendUint32(b, crc)
	return append(append(b, kind), payload...), crc
}

var errTorn = errors.New("the file ends within a frame")

// frames reads them one by one.
type frames struct {
	r    io.Reader
	crc  uint32
	good int64 // where the last whole frame ended
	buf  []byte
}

// next returns io.EOF at the end, errTorn if the file ends within a frame, or ErrDamaged. The payload is valid until the next call.
func (f *frames) next() (kind byte, payload []byte, err error) {
	var head [frameBytes]byte
	switch n, err := io.ReadFull(f.r, head[:]); {
	case errors.Is(err, io.EOF) && n == 0:
		return 0, nil, io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF):
		return 0, nil, errTorn
	case err != nil:
		return 0, nil, err
	}
	if head == ([frameBytes]byte{}) {
		return 0, nil, f.zeros()
	}
	length := binary.LittleEndian.Uint32(head[0:])
	if length == 0 || length > maxPayload {
		return 0, nil, fmt.Errorf("%w: a frame of %d bytes at offset %d", ErrDamaged, length, f.good)
	}
	if cap(f.buf) < int(length) {
		f.buf = make([]byte, length)
	}
	payload = f.buf[:length]
	switch _, err := io.ReadFull(f.r, payload); {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return 0, nil, errTorn
	case err != nil:
		return 0, nil, err
	}
	kind = head[8]
	crc := crc32.Update(crc32.Update(f.crc, table, head[8:]), table, payload)
	if crc != binary.LittleEndian.Uint32(head[4:]) {
		return 0, nil, fmt.Errorf("%w: the frame at offset %d does not add up", ErrDamaged, f.good)
	}
	f.crc, f.good = crc, f.good+frameBytes+int64(length)
	return kind, payload, nil
}

// zeros is errTorn if there is nothing else up to the end: after a power cut a file may be longer than what was written of it.
func (f *frames) zeros() error {
	var b [4 << 10]byte
	for {
		n, err := f.r.Read(b[:])
		if len(bytes.Trim(b[:n], "\x00")) > 0 {
			return fmt.Errorf("%w: zeros at offset %d, and more behind them", ErrDamaged, f.good)
		}
		if errors.Is(err, io.EOF) {
			return errTorn
		}
		if err != nil {
			return err
		}
	}
}
