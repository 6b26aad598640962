package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
)

// limit sets how many bytes the stream may hold; 0: no more than it holds.
func (w *world) limit(ctx context.Context, bytes int64) error {
	ctx, cancel := context.WithTimeout(ctx, longPatience)
	defer cancel()
	return poll(ctx, 200*time.Millisecond, func() error {
		s, err := w.js.Stream(ctx, events.StreamName)
		if err != nil {
			return err
		}
		cfg := s.CachedInfo().Config
		if cfg.MaxBytes = bytes; bytes == 0 {
			cfg.MaxBytes = int64(s.CachedInfo().State.Bytes) + 1
		}
		_, err = w.js.UpdateStream(ctx, cfg)
		return err
	})
}

func full(ctx context.Context, w *world) (end, error) {
	if err := w.limit(ctx, 0); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return w.limit(ctx, streamBytes) }, nil
}

// purged tries what the stream forbids.
func purged(ctx context.Context, w *world) (end, error) {
	s, err := w.js.Stream(ctx, events.StreamName)
	if err != nil {
		return nil, err
	}
	if err := s.Purge(ctx); err == nil {
		return nil, errors.New("the server has purged the stream")
	}
	if err := s.DeleteMsg(ctx, s.CachedInfo().State.LastSeq); err == nil {
		return nil, errors.New("the server has deleted a message of the stream")
	}
	return none, nil
}

// deleted removes the stream, and creates it again at the end.
func deleted(ctx context.Context, w *world) (end, error) {
	if err := w.js.DeleteStream(ctx, events.StreamName); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, longPatience)
		defer cancel()
		return w.ensure(ctx)
	}, nil
}

// deleteReaders deletes every consumer it sees while all nodes read.
func deleteReaders(ctx context.Context, w *world) (end, error) {
	until := time.Now().Add(4 * time.Second)
	for round := 0; time.Now().Before(until) && ctx.Err() == nil; round++ {
		if round%10 == 0 {
			for _, n := range w.nodes {
				_ = eachLink(n.links, (*link).drop) // has no error
			}
		}
		s, err := w.js.Stream(ctx, events.StreamName)
		if err != nil {
			return nil, err
		}
		for name := range s.ConsumerNames(ctx).Name() {
			_ = s.DeleteConsumer(ctx, name) // its reader may have been faster
		}
		<-time.After(20 * time.Millisecond)
	}
	return none, nil
}

// repeated publishes old statements again: with the same ID, with another one,
// the newest first, and weaker than they were.
func repeated(ctx context.Context, w *world) (end, error) {
	p, err := events.NewPublisher(events.PublisherConfig{Conn: w.conn})
	if err != nil {
		return nil, err
	}
	old := w.ledger.since(0)
	for i := len(old) - 1; i >= max(0, len(old)-100); i-- {
		r := old[i].about
		if old[i].young {
			continue
		}
		if i%3 > 0 {
			r.ID = events.NewID()
		}
		if i%3 == 2 && r.Scope >= events.Subject {
			r.Before = time.Now().Add(-24 * time.Hour)
		}
		if _, err := p.Publish(ctx, r); err != nil {
			return nil, err
		}
	}
	return none, nil
}

// hostile publishes what no publisher of ours would, and asks the fleet nonsense.
// The stream keeps each for some seconds.
func hostile(ctx context.Context, w *world) (end, error) {
	bad := map[string]string{
		"empty":    "",
		"text":     "hello",
		"future":   `{"v":2,"id":"x","iss":"` + foreignIssuer + `","scope":"galaxy","key":"k"}`,
		"half":     `{"v":1,"id":"x","iss":"` + foreignIssuer + `","scope":"session"`,
		"deep":     strings.Repeat("[", 5000),
		"twice":    `{"v":1,"v":1,"scope":"session","scope":"issuer"}`,
		"wrong":    `{"v":1,"id":"x","iss":7,"scope":"session","key":["a"]}`,
		"long":     `{"v":1,"key":"` + strings.Repeat("k", 8000) + `"}`,
		"unknown":  `{"v":1,"id":"x","scope":"galaxy"}`,
		"infinity": `{"v":1,"id":"x","until":1e999}`,
	}
	for name, text := range bad {
		for _, scope := range []string{"session", "issuer", "galaxy"} {
			m := nats.NewMsg(events.SubjectRevoked + "." + scope)
			m.Data = []byte(text)
			m.Header.Set("Nats-TTL", "6s")
			if scope != "issuer" { // without an ID it is nobody's statement
				m.Header.Set(nats.MsgIdHdr, fmt.Sprintf("hostile-%s-%s-%d", name, scope, time.Now().UnixNano()))
			}
			var refused *jetstream.APIError
			if _, err := w.js.PublishMsg(ctx, m); err != nil && !errors.As(err, &refused) {
				return nil, err
			}
		}
		if err := w.conn.PublishRequest(events.SubjectFleet, "nobody", []byte(text)); err != nil {
			return nil, err
		}
	}
	return none, nil
}

var streamFaults = []fault{
	{name: "stream full", hold: 8 * time.Second, begin: full},
	{name: "stream purged, message deleted: refused", begin: purged},
	{name: "stream deleted and created again", hold: 0, begin: deleted},
	{name: "stream deleted, created after a while", hold: 6 * time.Second, begin: deleted},
	{name: "readers' consumers deleted", begin: deleteReaders},
	{name: "statements again, in another order, weaker", begin: repeated},
	{name: "undecodable and hostile events", hold: 2 * time.Second, begin: hostile},
}
