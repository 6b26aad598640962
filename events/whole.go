package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
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
	// For is how long that has been so.
	For time.Duration
}

const (
	wholeQuiet   = 150 * time.Millisecond // between the answers of those who keep a ledger
	wholePatient = time.Second            // until the first
	wholeMost    = 1024                   // bytes of an answer
)

// AskWhole asks those who keep a ledger whether the stream is whole, and returns what
// they said within about a second, less if nobody is left to answer or an answer is enough.
// ErrNoLedger: nobody listens, which the server knows at once, or this role may not
// ask. ErrUnavailable: the question could not be asked. No answer and no error:
// somebody listens and says nothing.
func AskWhole(ctx context.Context, nc *nats.Conn, enough func(Whole) bool) ([]Whole, error) {
	msgs := make(chan *nats.Msg, 256)
	inbox := nc.NewInbox()
	sub, err := nc.ChanSubscribe(inbox, msgs)
	if err != nil {
		return nil, fmt.Errorf("%w: ask for a ledger: %w", ErrUnavailable, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be closed meanwhile
	if err := nc.PublishRequest(SubjectWhole, inbox, nil); err != nil {
		return nil, fmt.Errorf("%w: ask for a ledger: %w", ErrUnavailable, err)
	}
	silence := time.NewTimer(wholePatient)
	defer silence.Stop()
	var answers []Whole
	for {
		select {
		case <-ctx.Done():
			return answers, nil
		case <-silence.C:
			if err := nc.LastError(); len(answers) == 0 && errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), SubjectWhole) {
				return nil, fmt.Errorf("%w that this role may ask: allow it to publish to %s", ErrNoLedger, SubjectWhole)
			}
			return answers, nil
		case m := <-msgs:
			if m.Header.Get("Status") == "503" {
				return nil, ErrNoLedger
			}
			w, err := decodeWhole(m.Data)
			if err != nil {
				continue // not an answer of ours
			}
			answers = append(answers, w)
			if enough(w) {
				return answers, nil
			}
			silence.Reset(wholeQuiet)
		}
	}
}

// AnswerWhole answers that question until ctx ends, and returns nil then. An error
// means that it could not begin to listen.
func AnswerWhole(ctx context.Context, nc *nats.Conn, say func() Whole) error {
	msgs := make(chan *nats.Msg, 1024)
	sub, err := nc.ChanSubscribe(SubjectWhole, msgs)
	if err != nil {
		return fmt.Errorf("%w: listen on %s: %w", ErrUnavailable, SubjectWhole, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be closed already
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-msgs:
			if text, err := json.Marshal(say().wire()); err == nil && m.Reply != "" {
				_ = m.Respond(text) // the asker asks again
			}
		}
	}
}

// wholeJSON is the wire form.
type wholeJSON struct {
	Node     string `json:"node"`
	Stream   string `json:"stream,omitempty"` // when it was created
	Sequence uint64 `json:"sequence,omitempty"`
	For      int64  `json:"for_ms,omitempty"`
}

func (w Whole) wire() wholeJSON {
	j := wholeJSON{Node: w.Node, Sequence: w.At.Sequence, For: w.For.Milliseconds()}
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
		case "for_ms":
			ms, err := strconv.ParseUint(string(value), 10, 32) // 49 days and no more
			w.For = time.Duration(ms) * time.Millisecond
			if errors.Is(err, strconv.ErrRange) {
				return nil
			}
			return err
		}
		return nil // of a newer version
	})
	if err != nil || w.Node == "" {
		return Whole{}, errors.Join(err, errors.New("an answer without a name"))
	}
	if stream != "" {
		w.At.Stream, err = time.Parse(time.RFC3339Nano, stream)
	}
	return w, err
}
