package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
)

// limit sets how many bytes the stream may hold; 0: no more than it holds.
func (w *world) limit(ctx context.Context, bytes int64) error {
	ctx, cancel := w.patient(ctx)
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

// limited makes the stream as large as it may be; 0: full.
func limited(bytes int64) begin {
	return func(ctx context.Context, w *world) (grip, error) {
		before := w.ledger.refusals()
		if err := w.limit(ctx, bytes); err != nil {
			return grip{}, err
		}
		return grip{
			felt: func(context.Context) (string, error) {
				n := w.ledger.refusals() - before
				if n == 0 {
					return "", errors.New("the stream refused nothing")
				}
				return fmt.Sprintf("%d statements refused because it is full", n), nil
			},
			end: func(ctx context.Context) error { return w.limit(ctx, streamBytes) },
		}, nil
	}
}

// purged tries what the stream forbids.
func purged(ctx context.Context, w *world) (grip, error) {
	s, err := w.js.Stream(ctx, events.StreamName)
	if err != nil {
		return grip{}, err
	}
	const no = "not permitted"
	if err := s.Purge(ctx); err == nil || !strings.Contains(err.Error(), no) {
		return grip{}, fmt.Errorf("the server does not refuse to purge the stream: %w", err)
	}
	if err := s.DeleteMsg(ctx, s.CachedInfo().State.LastSeq); err == nil || !strings.Contains(err.Error(), no) {
		return grip{}, fmt.Errorf("the server does not refuse to delete a message of the stream: %w", err)
	}
	return over("both %s", no), nil
}

// deleted removes the stream, and creates it again at the end.
func deleted(ctx context.Context, w *world) (grip, error) {
	had, err := w.remove(ctx)
	if err != nil {
		return grip{}, err
	}
	return grip{
		felt: func(ctx context.Context) (string, error) {
			if _, err := w.js.Stream(ctx, events.StreamName); !errors.Is(err, jetstream.ErrStreamNotFound) {
				return "", fmt.Errorf("the stream is still there: %w", err)
			}
			return fmt.Sprintf("%d messages gone", had), nil
		},
		end: func(ctx context.Context) error {
			ctx, cancel := w.patient(ctx)
			defer cancel()
			return w.ensure(ctx)
		},
	}, nil
}

// remove deletes the stream and says how many messages it had. On a busy machine the answer may be late, or lost.
func (w *world) remove(ctx context.Context) (had uint64, err error) {
	ctx, cancel := w.patient(ctx)
	defer cancel()
	asked := false
	err = poll(ctx, 100*time.Millisecond, func() error {
		s, err := w.js.Stream(ctx, events.StreamName)
		if asked && errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil // that was us
		}
		if err != nil {
			return err
		}
		had, asked = s.CachedInfo().State.Msgs, true
		return w.js.DeleteStream(ctx, events.StreamName)
	})
	return had, err
}

// deleteReaders deletes every consumer it sees while all nodes read, until it has met enough.
func deleteReaders(ctx context.Context, w *world) (grip, error) {
	const enough = 8
	began, met := time.Now(), 0
	for round := 0; ctx.Err() == nil && (time.Since(began) < 4*time.Second || met < enough && time.Since(began) < 20*time.Second); round++ {
		if round%10 == 0 {
			for _, n := range w.nodes {
				_ = eachLink(n.links, (*link).drop) // has no error
			}
		}
		s, err := w.js.Stream(ctx, events.StreamName)
		if err != nil {
			return grip{}, err
		}
		for name := range s.ConsumerNames(ctx).Name() {
			if s.DeleteConsumer(ctx, name) == nil { // its reader may have been faster
				met++
			}
		}
		<-time.After(20 * time.Millisecond)
	}
	if met == 0 {
		return grip{}, errors.New("there was no consumer to delete")
	}
	return over("%d consumers deleted while they were read", met), nil
}

// repeated publishes old statements again: with the same ID, with another one,
// the newest first, and weaker than they were.
func repeated(ctx context.Context, w *world) (grip, error) {
	p, err := events.NewPublisher(events.PublisherConfig{Conn: w.conn})
	if err != nil {
		return grip{}, err
	}
	old, again, dropped := w.ledger.since(0), 0, 0
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
		receipt, err := p.Publish(ctx, r)
		switch {
		case err != nil:
			return grip{}, err
		case receipt.Duplicate:
			dropped++
		default:
			again++
		}
	}
	if again == 0 || dropped == 0 {
		return grip{}, fmt.Errorf("%d were stored again, %d seen to be repetitions", again, dropped)
	}
	return over("%d stored again, %d seen to be repetitions by the server", again, dropped), nil
}

// hostile publishes what no publisher of ours would, and asks the fleet nonsense.
// The stream keeps each for some seconds.
func hostile(ctx context.Context, w *world) (grip, error) {
	stored := 0
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
			switch _, err := w.js.PublishMsg(ctx, m); {
			case err == nil:
				stored++
			case !errors.As(err, &refused):
				return grip{}, err
			}
		}
		if err := w.conn.PublishRequest(events.SubjectFleet, "nobody", []byte(text)); err != nil {
			return grip{}, err
		}
	}
	return grip{
		felt: func(ctx context.Context) (string, error) { return w.puzzled(ctx, stored, 4*time.Second) },
		end:  func(context.Context) error { return nil },
	}, nil
}

// puzzled wants every node to meet events that it cannot read, and those that are not to be ready then not to be.
func (w *world) puzzled(ctx context.Context, stored int, within time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	least, errs := make([]int, len(w.nodes)), make([]error, len(w.nodes))
	var all sync.WaitGroup
	for i, n := range w.nodes {
		all.Go(func() {
			errs[i] = poll(ctx, 50*time.Millisecond, func() error {
				v, err := n.vitals(ctx)
				if err == nil && v.Unreadable == 0 {
					err = fmt.Errorf("%s has read everything", n.Name)
				}
				if err == nil && !n.StayReady {
					err = n.refusal(ctx, "could not be read")
				}
				least[i] = v.Unreadable
				return err
			})
		})
	}
	all.Wait()
	return fmt.Sprintf("%d stored, each node could not read %d of them or more", stored, slices.Min(least)), errors.Join(errs...)
}

var streamFaults = []fault{
	{name: "stream full", hold: 8 * time.Second, begin: limited(0)},
	{name: "stream purged, message deleted: refused", begin: purged},
	{name: "stream deleted and created again", hold: 0, begin: deleted},
	{name: "stream deleted, created after a while", hold: 6 * time.Second, begin: deleted},
	{name: "readers' consumers deleted", begin: deleteReaders},
	{name: "statements again, in another order, weaker", begin: repeated},
	{name: "undecodable and hostile events", hold: 2 * time.Second, begin: hostile},
}
