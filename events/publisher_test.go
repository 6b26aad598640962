package events_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

func session(key string) events.Revocation {
	return events.Revocation{Issuer: "https://issuer.example", Scope: events.Session, Key: key}
}

// stored returns what the stream holds, in order.
func stored(t *testing.T, js jetstream.JetStream) []*jetstream.RawStreamMsg {
	t.Helper()
	s, err := js.Stream(t.Context(), events.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	var all []*jetstream.RawStreamMsg
	state := s.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq && state.Msgs > 0; seq++ {
		m, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatalf("read sequence %d: %v", seq, err)
		}
		all = append(all, m)
	}
	return all
}

func TestPublishStoresTheStatement(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second).Add(300 * time.Millisecond)
	_, js, p := newStream(t, events.Layout{}, func(c *events.PublisherConfig) {
		c.By, c.Now = "policy", func() time.Time { return now }
	})
	ack, err := p.Publish(t.Context(), events.Revocation{Issuer: "i", Scope: events.Subject, Key: "u*.> 1", Gen: 7, Reason: "left"})
	if err != nil {
		t.Fatal(err)
	}
	all := stored(t, js)
	if len(all) != 1 || all[0].Sequence != ack.Sequence || ack.Duplicate {
		t.Fatalf("stored %d messages, ack %+v", len(all), ack)
	}
	m := all[0]
	got, err := events.Decode(m.Data)
	if err != nil {
		t.Fatal(err)
	}
	want := events.Revocation{
		ID: ack.ID, Issuer: "i", Scope: events.Subject, Key: "u*.> 1", Gen: 7, Reason: "left", By: "policy",
		Before: now.Truncate(time.Second).UTC(), At: now.UTC(), Until: now.Add(62 * time.Minute).Truncate(time.Second).Add(time.Second).UTC(),
	}
	if got != want {
		t.Errorf("stored:\n got %+v\nwant %+v", got, want)
	}
	if m.Subject != "quash.v1.session-revoked.subject" {
		t.Errorf("subject: got %q", m.Subject)
	}
	if id, ttl := m.Header.Get("Nats-Msg-Id"), m.Header.Get("Nats-TTL"); id != ack.ID || ttl != "3721" {
		t.Errorf("headers: got id %q ttl %q, want %q and 3721 (rounded up)", id, ttl, ack.ID)
	}
}

func TestPublishAgainWithTheSameIDIsHarmless(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	_, js, p := newStream(t, events.Layout{}, func(c *events.PublisherConfig) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	r := events.Revocation{ID: "once", Issuer: "i", Scope: events.Client, Key: "c"}
	first, err := p.Publish(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	ahead.Store(int64(3 * time.Second)) // the retry of a caller comes later and completes to something else
	second, err := p.Publish(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if !second.Duplicate || second.Sequence != first.Sequence || len(stored(t, js)) != 1 {
		t.Errorf("second: got %+v after %+v, %d stored", second, first, len(stored(t, js)))
	}
}

// The server compares IDs only: a reused ID must not swallow a statement.
func TestPublishRefusesAnIDUsedForSomethingElse(t *testing.T) {
	t.Parallel()
	_, _, p := newStream(t, events.Layout{}, nil)
	base := events.Revocation{ID: "incident-42", Issuer: "i", Scope: events.Subject, Key: "u", Gen: 3, Before: time.Now().Add(-time.Minute), Until: time.Now().Add(10 * time.Minute)}
	if _, err := p.Publish(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*events.Revocation){
		"key":    func(r *events.Revocation) { r.Key = "other" },
		"issuer": func(r *events.Revocation) { r.Issuer = "other" },
		"scope":  func(r *events.Revocation) { r.Scope, r.Gen = events.Client, 0 },
		"gen":    func(r *events.Revocation) { r.Gen = 4 },
		"before": func(r *events.Revocation) { r.Before = time.Now() },
		"until":  func(r *events.Revocation) { r.Until = time.Now().Add(time.Hour) },
	} {
		r := base
		change(&r)
		_, err := p.Publish(t.Context(), r)
		var field *events.FieldError
		if !errors.As(err, &field) || field.Field != "id" {
			t.Errorf("other %s under the same ID: got %v, want a FieldError for id", name, err)
		}
	}
}

func TestPublishRefusesInvalidInputAndPublishesNothing(t *testing.T) {
	t.Parallel()
	_, js, p := newStream(t, events.Layout{}, nil)
	for field, r := range map[string]events.Revocation{
		"iss":    {Scope: events.Session, Key: "s"},
		"key":    {Issuer: "i", Scope: events.Session},
		"scope":  {Issuer: "i", Key: "s"},
		"before": {Issuer: "i", Scope: events.Client, Key: "c", Before: time.Now().Add(3 * time.Hour)}, // would be forgotten while tokens live
		"until":  {Issuer: "i", Scope: events.Session, Key: "s", Until: time.Now().Add(3 * time.Hour)}, // beyond what the stream keeps
		"gen":    {Issuer: "i", Scope: events.Session, Key: "s", Gen: 1},
	} {
		_, err := p.Publish(t.Context(), r)
		var got *events.FieldError
		if !errors.As(err, &got) || got.Field != field || !errors.Is(err, events.ErrInvalid) {
			t.Errorf("%s: got %v, want a FieldError that names it", field, err)
		}
	}
	var field *events.FieldError
	if _, err := p.Publish(t.Context(), events.Revocation{Issuer: "i", Scope: events.Subject, Key: "s", Gen: events.MaxGen + 1}); !errors.As(err, &field) || field.Field != "gen" {
		t.Errorf("a generation at the end: got %v, want a FieldError that names gen", err)
	}
	if n := len(stored(t, js)); n != 0 {
		t.Errorf("%d messages stored, want none", n)
	}
	// A publisher whose clock is a little ahead must still be able to publish.
	if _, err := p.Publish(t.Context(), events.Revocation{Issuer: "i", Scope: events.Client, Key: "c", Before: time.Now().Add(30 * time.Second)}); err != nil {
		t.Errorf("before 30 s ahead: %v", err)
	}
}

// Peers let a revocation expire before the tokens it covers.
func TestPeerBug09_RetentionShorterThanTokenLifeIsRefused(t *testing.T) {
	t.Parallel()
	nc, js, _ := newStream(t, events.Layout{Retention: events.Retention{MaxTokenLife: 2 * time.Hour}}, nil)
	short, err := events.NewPublisher(events.PublisherConfig{Conn: nc, Retention: events.Retention{MaxTokenLife: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := short.Publish(t.Context(), session("s")); !errors.Is(err, events.ErrInvalid) || !strings.Contains(err.Error(), "outlive") {
		t.Errorf("publisher with a shorter retention: got %v, want ErrInvalid that says why", err)
	}
	long, err := events.NewPublisher(events.PublisherConfig{Conn: nc, Retention: events.Retention{MaxTokenLife: 3 * time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := long.Publish(t.Context(), session("s")); !errors.Is(err, events.ErrInvalid) {
		t.Errorf("publisher with tokens that outlive the stream: got %v, want ErrInvalid", err)
	}
	if _, err := events.EnsureStream(t.Context(), js, events.Layout{Retention: events.Retention{MaxTokenLife: 3 * time.Hour}}); !errors.Is(err, events.ErrLayout) {
		t.Errorf("ensure a longer retention: got %v, want ErrLayout", err)
	}
	cfg := events.Layout{}.StreamConfig()
	cfg.MaxAge = 30 * time.Minute
	if _, err := events.LayoutOf(cfg); !errors.Is(err, events.ErrLayout) || !strings.Contains(err.Error(), "max_age") {
		t.Errorf("stream that forgets after 30 min: got %v, want ErrLayout about max_age", err)
	}
}

func TestFullStreamIsErrFull(t *testing.T) {
	t.Parallel()
	_, js, p := newStream(t, events.Layout{MaxBytes: 8 << 10}, nil)
	var err error
	published := 0
	for published < 1000 && err == nil {
		if _, err = p.Publish(t.Context(), session(fmt.Sprint("s", published))); err == nil {
			published++
		}
	}
	if !errors.Is(err, events.ErrFull) || errors.Is(err, events.ErrUnavailable) || !strings.Contains(err.Error(), "max_bytes") {
		t.Fatalf("after %d: got %v, want ErrFull that says what to do", published, err)
	}
	if n := len(stored(t, js)); n != published {
		t.Errorf("stored: got %d, want the %d that were confirmed: nothing living is dropped", n, published)
	}
	rs := make([]events.Revocation, 200)
	for i := range rs {
		rs[i] = session(fmt.Sprint("b", i))
	}
	result, err := p.PublishAll(t.Context(), rs, nil)
	if !errors.Is(err, events.ErrFull) || len(result.Failed) != len(rs) {
		t.Errorf("batch: got %v, %d failed, want ErrFull and all %d", err, len(result.Failed), len(rs))
	}
	if n := len(stored(t, js)); n != published {
		t.Errorf("stored after a refused batch: got %d, want %d", n, published)
	}
}

func TestServerWithoutRoomIsErrFull(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t, natstest.WithConfig(func(o *server.Options) { o.JetStreamMaxStore = 1 << 20 })).Connect(t)
	js := apiOf(t, nc)
	if _, err := events.EnsureStream(t.Context(), js, events.Layout{}); !errors.Is(err, events.ErrFull) {
		t.Errorf("stream of 1 GiB on a server with 1 MiB: got %v, want ErrFull", err)
	}
}

func TestMissingStreamSaysWhatToDo(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect(t)
	p, err := events.NewPublisher(events.PublisherConfig{Conn: nc})
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Publish(t.Context(), session("s"))
	if !errors.Is(err, events.ErrUnavailable) || !strings.Contains(err.Error(), "quash stream ensure") {
		t.Errorf("got %v, want ErrUnavailable that names `quash stream ensure`", err)
	}
	result, err := p.PublishAll(t.Context(), []events.Revocation{session("a"), session("b")}, nil)
	if !errors.Is(err, events.ErrUnavailable) || len(result.Failed) != 2 {
		t.Errorf("batch: got %v with %d failed", err, len(result.Failed))
	}
}

func TestServerWithoutJetStreamIsErrUnavailable(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t, natstest.WithConfig(func(o *server.Options) { o.JetStream = false })).Connect(t)
	p, err := events.NewPublisher(events.PublisherConfig{Conn: nc})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the server's answer, that there is no JetStream", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := p.Publish(ctx, session("s"))
		if !errors.Is(err, events.ErrUnavailable) {
			t.Fatalf("got %v, want ErrUnavailable", err)
		}
		return strings.Contains(err.Error(), "JetStream")
	})
}

// A publish that meets a broker that is away succeeds as soon as it is back.
func TestPublishWaitsForTheBroker(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	nc := s.Connect(t, nats.ReconnectBufSize(-1))
	js := apiOf(t, nc)
	if _, err := events.EnsureStream(t.Context(), js, events.Layout{}); err != nil {
		t.Fatal(err)
	}
	p, err := events.NewPublisher(events.PublisherConfig{Conn: nc})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Publish(t.Context(), session("before")); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := p.Publish(ctx, session("too early")); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("without a broker: got %v, want ErrUnavailable", err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := p.Publish(t.Context(), session("later"))
		done <- err
	}()
	s.Restart(t)
	if err := <-done; err != nil {
		t.Errorf("with the broker back: %v", err)
	}
}

func TestPublishWithADeadContext(t *testing.T) {
	t.Parallel()
	_, js, p := newStream(t, events.Layout{}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Publish(ctx, session("s")); !errors.Is(err, events.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want ErrUnavailable and context.Canceled", err)
	}
	if n := len(stored(t, js)); n != 0 {
		t.Errorf("%d stored, want none", n)
	}
}

func TestNewPublisherNamesTheField(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect(t)
	for field, c := range map[string]events.PublisherConfig{
		"conn":           {},
		"by":             {Conn: nc, By: "me"},
		"ack_wait":       {Conn: nc, AckWait: -1},
		"max_token_life": {Conn: nc, Retention: events.Retention{MaxTokenLife: -1}},
	} {
		_, err := events.NewPublisher(c)
		var got *events.FieldError
		if !errors.As(err, &got) || got.Field != field {
			t.Errorf("%s: got %v, want a FieldError that names it", field, err)
		}
	}
}
