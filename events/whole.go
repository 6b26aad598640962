package events

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/internal/strictjson"
)

// Whole is what a process that keeps a ledger of living statements says about the
// stream: up to where it holds everything that the ledger holds.
type Whole struct {
	// Node is who says so.
	Node string
	// At is the position up to which nothing is missing. Zero: the stream has not been
	// compared with the ledger yet, or what it lost is being given back.
	At Position
}

const (
	wholeQuiet   = 150 * time.Millisecond // between the answers of those who keep a ledger
	wholePatient = time.Second            // for all of them
	wholeMost    = 1024                   // bytes of an answer
	wholeMany    = 256                    // answers
)

// AskWhole asks those who keep a ledger whether the stream is whole, and returns what
// they said, each thing once and at most 256 of them: within a second, less if nobody is
// left to answer. One who says "not yet" may be the only one who knows what was lost.
// ErrNoLedger: nobody listens, which the server knows at once, or this role may not
// ask. ErrUnavailable: the question could not be asked, or ctx ended before an answer.
// No answer and no error: somebody listens and says nothing.
func AskWhole(ctx context.Context, nc *nats.Conn) ([]Whole, error) {
	msgs := make(chan *nats.Msg, wholeMany)
	inbox := nc.NewInbox()
	sub, err := nc.ChanSubscribe(inbox, msgs)
	if err != nil {
		return nil, fmt.Errorf("%w: ask for a ledger: %w", ErrUnavailable, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be closed meanwhile
	if err := nc.PublishRequest(SubjectWhole, inbox, nil); err != nil {
		return nil, fmt.Errorf("%w: ask for a ledger: %w", ErrUnavailable, err)
	}
	// Behind this answer of the server's nothing is left of its word that nobody listens, and whoever says the same is another.
	fctx, cancel := context.WithTimeout(ctx, wholePatient)
	defer cancel()
	if err := nc.FlushWithContext(fctx); err != nil {
		return nil, fmt.Errorf("%w: ask for a ledger: %w", ErrUnavailable, err)
	}
	early := len(msgs)
	var quiet <-chan time.Time // nil before the first answer
	var answers []Whole
	hear := func(m *nats.Msg) error {
		early--
		if noResponders(m) && early >= 0 && len(answers) == 0 {
			return ErrNoLedger
		}
		w, err := decodeWhole(m.Data)
		if err != nil {
			return nil // not an answer of ours
		}
		if !slices.Contains(answers, w) {
			answers = append(answers, w)
		}
		quiet = time.After(wholeQuiet)
		return nil
	}
	patience := time.NewTimer(wholePatient)
	defer patience.Stop()
	for len(answers) < wholeMany {
		select {
		case m := <-msgs: // before anything that says that it is over
			if err := hear(m); err != nil {
				return nil, err
			}
			continue
		default:
		}
		select {
		case <-ctx.Done():
			if len(answers) == 0 {
				return nil, fmt.Errorf("%w: ask for a ledger: %w", ErrUnavailable, context.Cause(ctx))
			}
			return answers, nil
		case <-quiet:
			return answers, nil
		case <-patience.C:
			if err := nc.LastError(); len(answers) == 0 && errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), SubjectWhole) {
				return nil, fmt.Errorf("%w that this role may ask: allow it to publish to %s", ErrNoLedger, SubjectWhole)
			}
			return answers, nil
		case m := <-msgs:
			if err := hear(m); err != nil {
				return nil, err
			}
		}
	}
	return answers, nil
}

// HearWhole answers that question with what say returns, until stop is called; say may be
// running a moment longer, and is called by one goroutine. Without a Node nothing is answered, and who asks
// knows that somebody listens. Of several on one connection one hears each question.
// ErrUnavailable: it could not begin to listen.
func HearWhole(nc *nats.Conn, say func() Whole) (stop func(), err error) {
	// A server that hands a question over twice counts it as answered, where a role may answer once.
	sub, err := nc.QueueSubscribe(SubjectWhole, fmt.Sprintf("whole-%s-%p", process, nc), func(m *nats.Msg) {
		w := say()
		if text, err := json.Marshal(w.wire()); err == nil && m.Reply != "" && w.Node != "" {
			_ = m.Respond(text) // the asker asks again
		}
	})
	if err != nil {
		return nil, fmt.Errorf("%w: listen on %s: %w", ErrUnavailable, SubjectWhole, err)
	}
	return func() { _ = sub.Unsubscribe() }, nil // the connection may be closed already
}

var process = rand.Text()

// wholeJSON is the wire form.
type wholeJSON struct {
	Node     string `json:"node"`
	Stream   string `json:"stream,omitempty"` // when it was created
	Sequence uint64 `json:"sequence,omitempty"`
}

func (w Whole) wire() wholeJSON {
	j := wholeJSON{Node: w.Node, Sequence: w.At.Sequence}
	if !w.At.Stream.IsZero() {
		j.Stream = w.At.Stream.UTC().Format(time.RFC3339Nano)
	}
	return j
}

func decodeWhole(data []byte) (w Whole, err error) {
	if len(data) > wholeMost {
		return w, fmt.Errorf("an answer of %d bytes", len(data))
	}
	stream := ""
	err = strictjson.Object(data, func(name string, value []byte) error {
		switch name {
		case "node":
			return json.Unmarshal(value, &w.Node)
		case "stream":
			return json.Unmarshal(value, &stream)
		case "sequence":
			return json.Unmarshal(value, &w.At.Sequence)
		}
		return nil // of another version
	})
	if err != nil || w.Node == "" {
		return Whole{}, errors.Join(err, errors.New("an answer without a name"))
	}
	if stream != "" {
		w.At.Stream, err = time.Parse(time.RFC3339Nano, stream)
		w.At.Stream = w.At.Stream.UTC()
	}
	return w, err
}
