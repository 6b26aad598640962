package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// attempts are those of one publication. Each listens until the publication is over: a server that needs longer than ackWait for
// every answer would otherwise store what it is sent again and again, and never be heard.
type attempts struct {
	p       *Publisher
	ctx     context.Context
	answers chan attempted
	all     sync.WaitGroup
}

type attempted struct {
	msg *nats.Msg
	err error
}

// begin bounds a publication. The caller calls end.
func (p *Publisher) begin(ctx context.Context) (a *attempts, end func()) {
	ctx, cancel := context.WithTimeout(ctx, longestPublish)
	a = &attempts{p: p, ctx: ctx, answers: make(chan attempted)}
	return a, func() {
		cancel()
		a.all.Wait()
	}
}

// try returns the stream's answer to this attempt or to one before. send sends what goes before the message to be answered,
// and returns that.
func (a *attempts) try(send func() (*nats.Msg, error)) (pubAck, error) {
	for more := true; more; { // what came between the attempts; one that came to nothing must not keep the next one back
		select {
		case r := <-a.answers:
			if ack, err := r.ack(); err == nil || !repeatable(err) {
				return ack, err
			}
		default:
			more = false
		}
	}
	m, err := send()
	if err != nil {
		return pubAck{}, err
	}
	before := a.p.nc.LastError()
	a.all.Go(func() {
		resp, err := a.p.nc.RequestMsgWithContext(a.ctx, m)
		select {
		case a.answers <- attempted{resp, err}:
		case <-a.ctx.Done():
		}
	})
	timer := time.NewTimer(a.p.ackWait)
	defer timer.Stop()
	var r attempted
	select {
	case r = <-a.answers:
	case <-timer.C:
		r.err = context.DeadlineExceeded
	case <-a.ctx.Done():
		r.err = a.ctx.Err()
	}
	if last := a.p.nc.LastError(); r.err != nil && last != nil && last != before && errors.Is(last, nats.ErrPermissionViolation) && strings.Contains(last.Error(), m.Subject) {
		return pubAck{}, &publishError{kind: ErrUnavailable, hint: "this NATS user may not publish revocations, use the credentials of a publisher", cause: last}
	}
	return r.ack()
}

// ack reads the stream's answer.
func (r attempted) ack() (pubAck, error) {
	if r.err != nil {
		return pubAck{}, connError(r.err)
	}
	var ack pubAck
	if err := json.Unmarshal(r.msg.Data, &ack); err != nil {
		return pubAck{}, &publishError{kind: ErrUnavailable, hint: "the answer is not a confirmation, does another service listen on the subject?", cause: err}
	}
	if ack.Error != nil {
		return pubAck{}, apiError(ack.Error)
	}
	if ack.Stream != StreamName || ack.Sequence == 0 {
		return pubAck{}, &publishError{kind: ErrLayout, hint: fmt.Sprintf("stream %.40q confirmed instead of %s, check which streams take %s", ack.Stream, StreamName, subjectAllRevoked)}
	}
	return ack, nil
}
