package events

import (
	"context"

	"github.com/nats-io/nats.go"
)

// TryAfter makes an attempt when earlier ones have come to these errors.
func TryAfter(ctx context.Context, p *Publisher, m *nats.Msg, came ...error) (uint64, error) {
	a, end := p.begin(ctx)
	defer end()
	a.answers = make(chan attempted, len(came)+1)
	for _, err := range came {
		a.answers <- attempted{err: err}
	}
	ack, err := a.try(func() (*nats.Msg, error) { return m, nil })
	return ack.Sequence, err
}
