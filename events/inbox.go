package events

import (
	"log/slog"
	"strconv"
	"strings"
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

	livePrefix   = "quash.live."
	storedPrefix = "quash.v1."
)

// liveMsg is a republished message, parsed.
type liveMsg struct {
	seq      uint64
	previous uint64 // sequence of the predecessor on the same subject, 0 if none
	time     time.Time
	arrival  time.Time
	subject  string
	beacon   bool
	named    bool // has a message ID, as every publisher of ours gives
	data     []byte
	until    time.Time // of the statement, once it was decoded
}

// inbox takes live messages off the connection at once, without a limit, and
// hands them over in batches: a burst costs one Apply, not one each.
type inbox struct {
	ready chan struct{} // capacity 1: something is waiting
	now   func() time.Time
	log   *slog.Logger

	mu   sync.Mutex // guards what follows
	head uint64     // highest sequence that arrived
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
	b.head = max(b.head, lm.seq)
	alarm := len(b.msgs) == pendingAlarm
	b.mu.Unlock()
	if alarm {
		b.log.Warn("revocations arrive faster than they are applied", "pending", pendingAlarm)
	}
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

// waiting returns how many messages have not been taken, and the highest
// sequence that arrived.
func (b *inbox) waiting() (n int, head uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.msgs), b.head
}

// forget drops the highest sequence: it belongs to a stream that is no more.
func (b *inbox) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.head = 0
}

// reset empties the inbox for another Run.
func (b *inbox) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.head, b.msgs = 0, nil
}

// parseLive reads a republished message. One that lacks the server's headers
// was not republished by our stream and says nothing.
func parseLive(m *nats.Msg) (liveMsg, bool) {
	subject, ok := strings.CutPrefix(m.Subject, livePrefix)
	if !ok || m.Reply != "" || header(m, hdrStream) != StreamName {
		return liveMsg{}, false
	}
	subject = storedPrefix + subject
	if header(m, hdrSubject) != subject {
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
		beacon: subject == SubjectBeacon, data: m.Data,
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
