package events_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// tardy is a stream whose first answers to who wants a consumer come too late.
type tardy struct {
	jetstream.Stream
	late  int
	asked []string
}

func (s *tardy) CreateConsumer(ctx context.Context, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	s.asked = append(s.asked, cfg.Name)
	if len(s.asked) > s.late {
		return s.Stream.CreateConsumer(ctx, cfg)
	}
	if _, err := s.Stream.CreateConsumer(context.WithoutCancel(ctx), cfg); err != nil {
		return nil, err
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestReaderIsMadeOnce: a server that is slow to answer, because a whole fleet asks it at once, does not end up with a
// consumer for each question, of which nobody reads. It allows a thousand.
func TestReaderIsMadeOnce(t *testing.T) {
	t.Parallel()
	for name, connect := range map[string]func(*testing.T) (*nats.Conn, int){
		"one server":    func(t *testing.T) (*nats.Conn, int) { return natstest.Start(t).Connect(t), 1 },
		"three servers": func(t *testing.T) (*nats.Conn, int) { return natstest.StartCluster(t, 3).Connect(t), 3 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc, replicas := connect(t)
			js, err := jetstream.New(nc)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := events.EnsureStream(t.Context(), js, events.Layout{Replicas: replicas}); err != nil {
				t.Fatal(err)
			}
			p, err := events.NewPublisher(events.PublisherConfig{Conn: nc})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.PublishAll(t.Context(), sessions(3, "i"), nil); err != nil {
				t.Fatal(err)
			}
			stream, err := js.Stream(t.Context(), events.StreamName)
			if err != nil {
				t.Fatal(err)
			}
			sub, err := events.NewSubscriber(events.SubscriberConfig{Conn: nc})
			if err != nil {
				t.Fatal(err)
			}
			late := &tardy{Stream: stream, late: 2}
			cons, err := events.NewReader(t.Context(), sub, late, 50*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			if len(late.asked) != 3 || late.asked[0] != late.asked[1] || late.asked[0] != late.asked[2] {
				t.Errorf("asked for %q, want one consumer three times", late.asked)
			}
			if m, err := cons.Next(); err != nil || m.Subject() == events.SubjectBeacon {
				t.Errorf("it does not read: %v", err)
			}
			if info, err := stream.Info(t.Context()); err != nil || info.State.Consumers != 1 {
				t.Errorf("%d consumers, want 1: %v", info.State.Consumers, err)
			}

			// Who does not wait any longer leaves nothing: the server would keep it for seconds.
			deleted, err := nc.SubscribeSync("$JS.API.CONSUMER.DELETE." + events.StreamName + ".*")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			late = &tardy{Stream: stream, late: 10}
			if _, err := events.NewReader(ctx, sub, late, time.Second); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			if m, err := deleted.NextMsg(patience); err != nil || !strings.HasSuffix(m.Subject, late.asked[0]) {
				t.Fatalf("it was not deleted: %v", err)
			}
			eventually(t, "one consumer is left", func() bool {
				_, err := stream.Consumer(t.Context(), late.asked[0])
				return errors.Is(err, jetstream.ErrConsumerNotFound)
			})
			if _, err := stream.Consumer(t.Context(), cons.CachedInfo().Name); err != nil {
				t.Error(err)
			}
		})
	}
}
