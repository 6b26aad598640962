package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
)

const readsAtOnce = 256 // in one question; the server answers 1,024 at most

// getMany asks one question for several keys: the answers are of one instant, and cost a fraction of as many questions. The
// server sends one message for each key that was ever written, and one that says that these were all. Anything less is an
// error: a mark that was lost on the way, or cannot be read, would be a revocation that was forgotten.
func (b *bucket) getMany(ctx context.Context, keys []string) ([]record, error) {
	if err := b.connected(); err != nil {
		return nil, err
	}
	subjects := make([]string, len(keys))
	out := make([]record, len(keys))
	at := make(map[string]int, len(keys))
	for n, key := range keys {
		subjects[n], out[n].key, at[b.prefix+key] = b.prefix+key, key, n
	}
	question, err := json.Marshal(map[string][]string{"multi_last": subjects})
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	answers := make(chan *nats.Msg, len(keys)+1)
	inbox := b.nc.NewInbox()
	sub, err := b.nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return nil, fmt.Errorf("read: %w", unavailable(err))
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection is gone, and the subscription with it
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	if err := b.nc.PublishRequest(b.direct, inbox, question); err != nil {
		return nil, fmt.Errorf("read: %w", unavailable(err))
	}
	for last := uint64(0); ; {
		select {
		case m := <-answers:
			before, err := strconv.ParseUint(m.Header.Get("Nats-Last-Sequence"), 10, 64)
			status, why := m.Header.Get("Status"), m.Header.Get("Description")
			switch {
			case status == "404" && why == "No Results" && last == 0:
				return out, nil
			case status != "" && status != "204": // a 404 with another word: one of the records cannot be read
				return nil, fmt.Errorf("read: %w: the server says %s %s", ErrUnavailable, status, why)
			case err != nil || before != last, status == "204" && m.Header.Get("Nats-Num-Pending") != "0":
				return nil, fmt.Errorf("read: %w: the server's answers are not complete", ErrUnavailable)
			case status == "204":
				return out, nil
			}
			n, ok := at[m.Header.Get("Nats-Subject")]
			if !ok {
				return nil, fmt.Errorf("read: %w: the server answers for another record", ErrUnavailable)
			}
			if last, err = strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64); err != nil {
				return nil, fmt.Errorf("read: %w: the server's answer has no sequence", ErrUnavailable)
			}
			if out[n], err = stored(keys[n], last, m.Header, m.Data); err != nil {
				return nil, err
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("read: %w", unavailable(ctx.Err()))
		}
	}
}

// stored is the record of a message.
func stored(key string, revision uint64, header nats.Header, data []byte) (record, error) {
	r := record{key: key, revision: revision}
	if header.Get("KV-Operation") == "" && header.Get("Nats-Marker-Reason") == "" {
		r.value = data
		if r.value == nil {
			r.value = []byte{}
		}
	} else if neverDeleted(key) {
		return record{}, badRecord(key, errors.New("was deleted, which the issuer never does"))
	}
	return r, nil
}

// tryMany finds out at the start what would otherwise look like a slow server for ever.
func (b *bucket) tryMany(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience) // whatever the caller has: a question that may not be asked is never answered
	defer cancel()
	if _, err := b.getMany(ctx, []string{markKey(events.Issuer, "")}); err != nil {
		return fmt.Errorf("%w (the NATS user must be allowed to publish to %s; deploy/nats has all permissions)", err, b.direct)
	}
	return nil
}
