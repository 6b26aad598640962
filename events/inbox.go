package events

import (
	"strconv"
	"sync"
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
)

// liveMsg is a republished message, parsed.
type liveMsg struct {
	seq      uint64
	previous uint64 // sequence of the predecessor on the same subject, 0 if none
	time     time.Time
	arrival  time.Time
	subject  string
	beacon   bool
	data     []byte
}

// inbox takes live messages off the connection at once, without a limit, and
// hands them over in batches: a burst costs one Apply, not one each.
type inbox struct {
	ready chan struct{} // capacity 1: something is waiting
	now   func() time.Time

	mu   sync.Mutex // guards msgs
	msgs []liveMsg
	free []liveMsg // the batch before, for its memory
}

// put is the subscription's callback.
func (b *inbox) put(m *nats.Msg) {
	lm, ok := parseLive(m)
	if !ok {
		return
	}
	lm.arrival = b.now()
	b.mu.Lock()
	b.msgs = append(b.msgs, lm)
	b.mu.Unlock()
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// take returns what has arrived. The slice is valid until the next call.
func (b *inbox) take() []liveMsg {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.msgs
	clear(b.free)
	b.msgs = b.free[:0]
	b.free = out
	if cap(b.msgs) > 4096 { // a burst must not be remembered for ever
		b.msgs = nil
	}
	return out
}

func (b *inbox) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.msgs)
}

// parseLive reads a republished message. One that lacks the server's headers
// was not republished by our stream and says nothing.
func parseLive(m *nats.Msg) (liveMsg, bool) {
	if header(m, hdrStream) != StreamName {
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
	subject := header(m, hdrSubject)
	return liveMsg{
		seq: seq, previous: previous, time: at, subject: subject,
		beacon: subject == SubjectBeacon, data: m.Data,
	}, true
}

// header reads a header by its exact name, without the canonical form's cost.
func header(m *nats.Msg, name string) string {
	if v := m.Header[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}
