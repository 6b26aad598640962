package snapshot

import (
	"encoding/binary"
	"hash/crc32"
)

// HeaderOfVersion is a header that adds up.
func HeaderOfVersion(v uint32, id Identity) []byte {
	b := header(id)
	binary.LittleEndian.PutUint32(b[8:], v)
	binary.LittleEndian.PutUint32(b[headerBytes-4:], crc32.Checksum(b[:headerBytes-4], table))
	return b
}

func EncodeStatement(s Statement) []byte { return appendStatement(nil, &s) }
func EncodeMark(m Mark) []byte           { return m.encode() }

func DecodeStatements(b []byte) (all []Statement, err error) {
	err = statements(b, func(s Statement) { all = append(all, s) })
	return all, err
}

var DecodeMark = decodeMark
