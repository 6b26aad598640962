package snapshot

import (
	"encoding/binary"
	"errors"
	"time"
)

// Statement is one of the denylist's, as cache.Statement has it.
type Statement struct {
	Scope       uint8
	Issuer, Key string
	Before      int64
	Gen         uint64
	Until       int64
	Sequence    uint64
	Text        string // the whole event, if the writer wants it back; may be empty
}

// Mark says that everything before it in the file is complete up to AsOf.
type Mark struct {
	AsOf      time.Time     // of the node's view when the mark was written
	Staleness time.Duration // of that view then
	Written   time.Time     // by the node's wall clock
	Boot      [16]byte      // the machine's boot; zero: unknown
	Uptime    time.Duration // since that boot, time asleep included
	Sequence  uint64        // of the stream; for people
	// What the stream promises, see events.Retention.
	MaxTokenLife, Leeway time.Duration
	// Where to go on in the stream, see events.Place. Zero: nobody can.
	Stream     time.Time
	Last, Kept Landmark
}

// Landmark is one message of the stream.
type Landmark struct {
	Sequence    uint64
	Time, Until time.Time
}

func appendStatement(b []byte, s *Statement) []byte {
	b = append(b, s.Scope)
	b = binary.AppendUvarint(b, uint64(len(s.Issuer)))
	b = append(b, s.Issuer...)
	b = binary.AppendUvarint(b, uint64(len(s.Key)))
	b = append(b, s.Key...)
	b = binary.AppendVarint(b, s.Before)
	b = binary.AppendUvarint(b, s.Gen)
	b = binary.AppendVarint(b, s.Until)
	b = binary.AppendUvarint(b, s.Sequence)
	b = binary.AppendUvarint(b, uint64(len(s.Text)))
	return append(b, s.Text...)
}

var errRecord = errors.New("a record cannot be read")

// reader takes values off a payload; after a mistake it gives zeros and err is set.
type reader struct {
	b      []byte
	err    error
	skim   bool   // make no strings: only whether it can be read is asked
	issuer string // the last one: most statements have the same
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.err, r.b = errRecord, nil
		return nil
	}
	head := r.b[:n]
	r.b = r.b[n:]
	return head
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.err, r.b = errRecord, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.err, r.b = errRecord, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) text() string {
	b := r.take(r.uint())
	if r.skim {
		return ""
	}
	return string(b)
}

func (r *reader) statement() (s Statement) {
	if scope := r.take(1); scope != nil {
		s.Scope = scope[0]
	}
	issuer := r.take(r.uint())
	if !r.skim && string(issuer) != r.issuer {
		r.issuer = string(issuer)
	}
	s.Issuer = r.issuer
	s.Key = r.text()
	s.Before, s.Gen, s.Until, s.Sequence = r.int(), r.uint(), r.int(), r.uint()
	s.Text = r.text()
	return s
}

// statements calls each with those of a payload.
func statements(payload []byte, each func(Statement)) error {
	r := reader{b: payload}
	for len(r.b) > 0 {
		s := r.statement()
		if r.err != nil {
			return r.err
		}
		each(s)
	}
	return r.err
}

// count only asks whether they can be read.
func count(payload []byte) (n int, err error) {
	for r := (reader{b: payload, skim: true}); len(r.b) > 0; n++ {
		if _ = r.statement(); r.err != nil {
			return 0, r.err
		}
	}
	return n, nil
}

func (m Mark) encode(version uint32) []byte {
	var b []byte
	for _, v := range [...]int64{m.AsOf.UnixNano(), int64(m.Staleness), m.Written.UnixNano(), int64(m.Uptime), int64(m.MaxTokenLife), int64(m.Leeway)} {
		b = binary.AppendVarint(b, v)
	}
	b = binary.AppendUvarint(b, m.Sequence)
	b = append(b, m.Boot[:]...)
	if version < 2 {
		return b
	}
	b = appendTime(b, m.Stream)
	for _, l := range [...]Landmark{m.Last, m.Kept} {
		b = appendTime(appendTime(binary.AppendUvarint(b, l.Sequence), l.Time), l.Until)
	}
	return b
}

// decodeMark reads a mark of a file of the version. A compaction copies marks of before as they are.
func decodeMark(payload []byte, version uint32) (m Mark, err error) {
	r := reader{b: payload}
	m.AsOf, m.Staleness, m.Written = time.Unix(0, r.int()).UTC(), time.Duration(r.int()), time.Unix(0, r.int()).UTC()
	m.Uptime, m.MaxTokenLife, m.Leeway = time.Duration(r.int()), time.Duration(r.int()), time.Duration(r.int())
	m.Sequence = r.uint()
	copy(m.Boot[:], r.take(uint64(len(m.Boot))))
	if version >= 2 && len(r.b) > 0 {
		m.Stream = r.time()
		for _, l := range [...]*Landmark{&m.Last, &m.Kept} {
			l.Sequence, l.Time, l.Until = r.uint(), r.time(), r.time()
		}
	}
	if r.err == nil && len(r.b) > 0 {
		r.err = errRecord
	}
	return m, r.err
}

// appendTime writes 0 for no time.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendVarint(b, 0)
	}
	return binary.AppendVarint(b, t.UnixNano())
}

func (r *reader) time() time.Time {
	if ns := r.int(); ns != 0 {
		return time.Unix(0, ns).UTC()
	}
	return time.Time{}
}
