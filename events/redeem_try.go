package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Error codes of a compare-and-set that found something else.
const (
	codeWrongSequence  = 10071
	codeWrongInFlight  = 10164 // somebody else's message is on its way and may yet fail
	codeNoMessageFound = 10037
)

// try makes one attempt. Errors are as publishError says; ErrRedeemed is final.
func (r *Redeemer) try(ctx context.Context, c *claim) (again bool, err error) {
	err = r.store(ctx, c)
	if err == nil {
		return false, nil
	}
	if !conflict(err) {
		return repeatable(err), err
	}
	// Something is stored under the token's name: ours, if an answer was lost.
	nonce, err := r.holder(ctx, c.subject)
	switch {
	case err != nil:
		return repeatable(err), err
	case nonce == c.nonce:
		return false, nil
	}
	return false, ErrRedeemed
}

// store asks the stream to keep the claim if nothing is kept under its name.
func (r *Redeemer) store(ctx context.Context, c *claim) error {
	ctx, cancel := context.WithTimeout(ctx, r.ackWait)
	defer cancel()
	m := &nats.Msg{Subject: c.subject, Data: []byte(c.nonce), Header: nats.Header{
		nats.ExpectedLastSubjSeqHdr: {"0"},
		nats.ExpectedStreamHdr:      {OnceStream},
		headerTTL:                   {c.ttl},
	}}
	before := r.nc.LastError()
	resp, err := r.nc.RequestMsgWithContext(ctx, m)
	if err != nil {
		if last := r.nc.LastError(); last != nil && last != before && errors.Is(last, nats.ErrPermissionViolation) && strings.Contains(last.Error(), c.subject) {
			return &publishError{kind: ErrUnavailable, hint: "this NATS user may not use up one-time tokens: allow it to publish " + subjectAllOnce, cause: last}
		}
		return onceError(err)
	}
	var ack pubAck
	if err := json.Unmarshal(resp.Data, &ack); err != nil {
		return &publishError{kind: ErrUnavailable, hint: "the answer is not a confirmation, does another service listen on the subject?", cause: err}
	}
	if ack.Error != nil {
		return apiOnceError(ack.Error)
	}
	if ack.Stream != OnceStream || ack.Sequence == 0 || ack.Duplicate {
		return &publishError{kind: ErrLayout, hint: fmt.Sprintf("stream %.40q confirmed instead of %s, check which streams take %s", ack.Stream, OnceStream, subjectAllOnce)}
	}
	c.sequence = ack.Sequence
	return nil
}

// holder returns the nonce that is stored under a token's name. The stream's
// leader answers: it stores only what is decided.
func (r *Redeemer) holder(ctx context.Context, subject string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, r.ackWait)
	defer cancel()
	resp, err := r.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+OnceStream, []byte(`{"last_by_subj":"`+subject+`"}`))
	if err != nil {
		return "", onceError(err)
	}
	var got struct {
		Message *struct {
			Subject string `json:"subject"`
			Data    []byte `json:"data"`
		} `json:"message"`
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(resp.Data, &got); err != nil {
		return "", &publishError{kind: ErrUnavailable, hint: "the stored message cannot be read", cause: err}
	}
	switch {
	case got.Error != nil && got.Error.ErrorCode == codeNoMessageFound:
		// Still on its way, or it failed, or it was forgotten just now.
		return "", &publishError{kind: ErrUnavailable, hint: "another attempt is not decided yet", again: true}
	case got.Error != nil:
		return "", apiOnceError(got.Error)
	case got.Message == nil || got.Message.Subject != subject:
		return "", &publishError{kind: ErrUnavailable, hint: "the server answered with another message"}
	}
	return string(got.Message.Data), nil
}

// conflict reports whether the stream refused because something is, or is about
// to be, stored under the name.
func conflict(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == codeWrongSequence || api.ErrorCode == codeWrongInFlight ||
		api.ErrorCode == codeStoreFailed && strings.Contains(api.Description, "per subject"))
}

// onceError explains an attempt that got no answer.
func onceError(err error) error {
	e := &publishError{kind: ErrUnavailable, cause: err, again: true}
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		e.hint = "nobody keeps used one-time tokens: the stream " + OnceStream + " is missing (run `quash stream ensure`) or has no leader right now"
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		e.hint, e.again = "the connection was closed by this program", false
	default:
		e.hint = "no answer from the stream, try again"
	}
	return e
}

// apiOnceError explains the server's refusal. Nothing was stored.
func apiOnceError(api *jetstream.APIError) error {
	e := &publishError{kind: ErrUnavailable, cause: api}
	switch {
	case conflict(api):
		e.hint = "something is stored under this name"
	case fullCode(api):
		e.kind, e.hint = ErrFull, "the server has no room for used one-time tokens, raise max_bytes of "+OnceStream
	case api.Code == 400:
		e.kind, e.hint = ErrLayout, "the stream refuses the way we write, run `quash stream check`"
	default:
		e.hint, e.again = "the server cannot decide now, try again", true
	}
	return e
}
