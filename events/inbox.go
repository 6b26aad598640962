package events

import (
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Headers the server puts on a republished message.
const (
	hdrStream   = "Nats-Stream"
	hdrSubject  = "Nats-Subject"
	hdrSequence = "Nats-Sequence"
	hdrTime     = "Nats-Time-Stamp"
	hdrPrevious = "Nats-Last-Sequence"

	livePrefix   = "quash.live."
	storedPrefix = "quash.v1."
)

// liveMsg is a republished message, parsed.
type liveMsg struct {
	number   int64 // of the live messages of this Run, from 1, whatever they are
	seq      uint64
	previous uint64 // sequence of the predecessor on the same subject, 0 if none
	time     time.Time
	arrival  time.Time
	subject  string
	beacon   bool
	named    bool          // has a message ID, as every publisher of ours gives
	kept     time.Duration // as its publisher wrote it; zero if that is not known
	data     []byte
	until    time.Time // of the statement, once it was decoded
}

// inboxSize is how many live messages may wait to be applied. What does not fit
// is dropped, which shows as a gap and is read from the stream: memory is bounded
// and nothing is lost.
const inboxSize = 32 << 10

// take parses m and whatever else has arrived meanwhile: a burst costs one
// Apply, not one each.
func (f *follower) take(m *nats.Msg, inbox <-chan *nats.Msg) []liveMsg {
	const most = 1024
	f.msgs = f.msgs[:0]
	for {
		f.taken++
		if lm, ok := parseLive(m); ok {
			lm.number, lm.arrival = f.taken, f.now()
			f.msgs = append(f.msgs, lm)
		}
		if len(f.msgs) == most {
			return f.msgs
		}
		select {
		case m = <-inbox:
		default:
			return f.msgs
		}
	}
}

// received is the number of the newest live message that has been received, taken or not.
func (f *follower) received() int64 {
	if n, err := f.sub.Delivered(); err == nil {
		return n
	}
	return f.taken + inboxSize // of a connection that was closed nobody can tell
}

// era is Status.Rewinds of the stream that m is of. One that waited when a stream was found to be
// another is taken for one of the stream before; if it is not, it is read again.
func (f *follower) era(m *liveMsg) uint64 {
	if m.number <= f.older {
		return f.rewinds - 1
	}
	return f.rewinds
}

// parseLive reads a republished message. One that lacks the server's headers
// was not republished by our stream and says nothing.
func parseLive(m *nats.Msg) (liveMsg, bool) {
	name, ok := strings.CutPrefix(m.Subject, livePrefix)
	if !ok || m.Reply != "" || header(m, hdrStream) != StreamName {
		return liveMsg{}, false
	}
	subject := header(m, hdrSubject)
	if stored, ok := strings.CutPrefix(subject, storedPrefix); !ok || stored != name {
		return liveMsg{}, false
	}
	seq, err := strconv.ParseUint(header(m, hdrSequence), 10, 64)
	if err != nil || seq == 0 {
		return liveMsg{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, header(m, hdrTime))
	if err != nil {
		return liveMsg{}, false
	}
	previous, _ := strconv.ParseUint(header(m, hdrPrevious), 10, 64)
	return liveMsg{
		seq: seq, previous: previous, time: at, subject: subject, named: header(m, nats.MsgIdHdr) != "",
		beacon: subject == SubjectBeacon, kept: kept(m.Header), data: m.Data,
	}, true
}

// header reads a header by its exact name. The server appends its own to what
// the sender wrote, so only the last value is the server's.
func header(m *nats.Msg, name string) string {
	if v := m.Header[name]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}
