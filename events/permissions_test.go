package events_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// startWithRoles runs a server with testdata/roles.conf and the stream.
func startWithRoles(t *testing.T) *natstest.Server {
	t.Helper()
	s := natstest.Start(t, natstest.WithConfig(func(o *server.Options) {
		roles, err := server.ProcessConfigFile("testdata/roles.conf")
		if err != nil {
			t.Fatal(err)
		}
		o.Accounts, o.Users = roles.Accounts, roles.Users
	}))
	js := apiOf(t, as(t, s, "operator"))
	if _, err := events.EnsureStream(t.Context(), js, events.Layout{}); err != nil {
		t.Fatalf("operator: %v", err)
	}
	return s
}

// as connects with a role, through Connect as everybody does.
func as(t *testing.T, s *natstest.Server, role string) *nats.Conn {
	t.Helper()
	nc, err := events.Connect(events.ConnectConfig{URL: s.URL(), User: role, Password: role, InboxPrefix: "_INBOX_" + role})
	if err != nil {
		t.Fatal(err)
	}
	natstest.Connected(t, nc)
	t.Cleanup(nc.Close)
	return nc
}

// held is the state of a follower under test.
type held struct {
	mu   sync.Mutex
	keys []string
}

func (h *held) apply(_ context.Context, batch []events.Event) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range batch {
		h.keys = append(h.keys, e.Revocation.Key)
	}
	return nil
}

func (h *held) has(key string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Contains(h.keys, key)
}

// followAs runs a subscriber with a role and returns what it holds.
func followAs(t *testing.T, nc *nats.Conn) (*events.Subscriber, *held) {
	t.Helper()
	sub, err := events.NewSubscriber(events.SubscriberConfig{Conn: nc, BeaconInterval: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	h := &held{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sub.Run(ctx, h.apply) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("subscriber: %v", err)
		}
	})
	waitFor(t, "the follower is synced", func() bool { return sub.Freshness(time.Now()).Synced })
	return sub, h
}

// Each role can do its work with these permissions.
func TestRolesSuffice(t *testing.T) {
	t.Parallel()
	s := startWithRoles(t)
	publisher, err := events.NewPublisher(events.PublisherConfig{Conn: as(t, s, "publisher")})
	if err != nil {
		t.Fatal(err)
	}
	early := session("early")
	early.ID = "early"
	for range 2 { // the second is a duplicate, which the publisher reads back
		if _, err := publisher.Publish(t.Context(), early); err != nil {
			t.Fatalf("publisher: %v", err)
		}
	}
	if _, err := publisher.PublishAll(t.Context(), sessions(20, "b"), nil); err != nil {
		t.Fatalf("publisher, batch: %v", err)
	}

	verifier := as(t, s, "verifier")
	sub, h := followAs(t, verifier) // reads what is stored, beacons, follows
	if !h.has("early") || !h.has("b19") {
		t.Errorf("after the catch-up: got %v", h.keys)
	}
	responder, err := events.NewResponder(events.ResponderConfig{
		Conn: verifier, Node: "v", WaitApplied: sub.WaitApplied,
		Report: func() events.Report { return events.Report{Synced: true} },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- responder.Run(ctx) }()
	defer func() { cancel(); <-done }()
	for _, role := range []string{"publisher", "operator"} {
		nc := as(t, s, role)
		waitFor(t, "the verifier answers the "+role, func() bool {
			answers, err := events.AskFleet(t.Context(), nc, events.Question{Expect: []string{"v"}, Quiet: time.Second})
			return err == nil && len(answers) == 1
		})
	}
	asker := as(t, s, "publisher")
	waitFor(t, "the verifier is counted and confirms", func() bool {
		receipt, err := events.RevokeAndWait(t.Context(), asker, publisher, session("late"), patience)
		if err != nil || len(receipt.Answered) > 0 && !h.has("late") {
			t.Fatalf("receipt: got %v, %v", receipt, err)
		}
		return receipt.Complete() && len(receipt.Answered) == 1
	})
}

// permitted tries to publish, or to subscribe, and reports whether the server
// let it.
func permitted(t *testing.T, nc *nats.Conn, try func() error) bool {
	t.Helper()
	refused := make(chan error, 16)
	nc.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err })
	if err := try(); err != nil {
		t.Fatal(err)
	}
	// A publish that is always refused marks the end: errors come in order.
	if err := nc.Publish("quash.end", nil); err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		select {
		case err := <-refused:
			if strings.Contains(err.Error(), "quash.end") {
				return n == 0
			}
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Fatalf("got %v, want a permission violation", err)
			}
		case <-time.After(patience):
			t.Fatal("the server did not refuse what nobody may do")
		}
	}
}

// Only who may revoke can revoke, and nobody can speak for the server.
func TestPeerBug24_UnauthenticatedWriter(t *testing.T) {
	t.Parallel()
	s := startWithRoles(t)
	if err := answered(events.ConnectConfig{URL: s.URL()}); err == nil {
		t.Fatal("the server accepts clients without credentials")
	}
	revoked := events.SubjectFor(events.Session)
	writes := []string{
		revoked, "quash.v1.session-revoked.x.y", "quash.live.session-revoked.session", "quash.live.beacon",
		"$JS.API.STREAM.CREATE.QUASH", "$JS.API.STREAM.UPDATE.QUASH", "$JS.API.STREAM.DELETE.QUASH", "$JS.API.STREAM.PURGE.QUASH",
		"$JS.API.STREAM.MSG.DELETE.QUASH", "$JS.API.STREAM.MSG.GET.QUASH", "$JS.API.STREAM.SNAPSHOT.QUASH", "$JS.API.STREAM.RESTORE.QUASH",
		"$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.STREAM.LEADER.STEPDOWN.QUASH", "$JS.API.STREAM.CREATE.X",
		"$JS.API.CONSUMER.DURABLE.CREATE.QUASH.x", "$JS.API.CONSUMER.CREATE.X.y", "$JS.ACK.QUASH.x.1.1.1.1.1", "_INBOX_operator.x", "_INBOX_publisher.x", "_INBOX_verifier.x",
	}
	reads := []string{">", "quash.>", "quash.v1.session-revoked.>", "$JS.>", "_INBOX.>", "_INBOX_operator.>", "_INBOX_verifier.>", "_INBOX_publisher.>"}
	for role, may := range map[string][]string{
		"verifier":  {"_INBOX_verifier.>"},
		"publisher": {revoked, "_INBOX_publisher.>"},
	} {
		nc := as(t, s, role)
		for _, subject := range writes {
			if got, want := permitted(t, nc, func() error { return nc.Publish(subject, nil) }), slices.Contains(may, subject); got != want {
				t.Errorf("%s publishes to %s: got %v, want %v", role, subject, got, want)
			}
		}
		for _, subject := range reads {
			got := permitted(t, nc, func() error { _, err := nc.SubscribeSync(subject); return err })
			if want := slices.Contains(may, subject); got != want {
				t.Errorf("%s subscribes to %s: got %v, want %v", role, subject, got, want)
			}
		}
	}
	publisher := as(t, s, "publisher")
	for _, subject := range []string{events.SubjectBeacon, "$JS.API.CONSUMER.CREATE.QUASH.x", "$JS.API.CONSUMER.DELETE.QUASH.x"} {
		if permitted(t, publisher, func() error { return publisher.Publish(subject, nil) }) {
			t.Errorf("publisher publishes to %s", subject)
		}
	}
}

// A publisher that lacks the permission learns why.
func TestPublishWithoutPermissionSaysSo(t *testing.T) {
	t.Parallel()
	s := startWithRoles(t)
	p, err := events.NewPublisher(events.PublisherConfig{Conn: as(t, s, "verifier"), AckWait: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = p.Publish(t.Context(), session("s")); !errors.Is(err, events.ErrUnavailable) || !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), "credentials of a publisher") {
		t.Errorf("got %v, want ErrUnavailable that names the permission", err)
	}
}

// Not even an operator can make the stream forget by accident.
func TestStreamCannotBePurged(t *testing.T) {
	t.Parallel()
	s := startWithRoles(t)
	js := apiOf(t, as(t, s, "operator"))
	stream, err := js.Stream(t.Context(), events.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err == nil {
		t.Error("purge: no error")
	}
	if err := stream.DeleteMsg(t.Context(), 1); err == nil {
		t.Error("delete of a message: no error")
	}
	if _, err := js.UpdateStream(t.Context(), func() jetstream.StreamConfig {
		c := events.Layout{}.StreamConfig()
		c.DenyPurge = false
		return c
	}()); err == nil {
		t.Error("lifting deny_purge: no error")
	}
}

// The server republishes a message with the sender's own headers before its own.
// Who may only send beacons must not be able to pass one off as a revocation.
func TestPeerBug24_BeaconDressedAsRevocation(t *testing.T) {
	t.Parallel()
	s := startWithRoles(t)
	_, h := followAs(t, as(t, s, "verifier"))
	p, err := events.NewPublisher(events.PublisherConfig{Conn: as(t, s, "publisher")})
	if err != nil {
		t.Fatal(err)
	}
	forged, err := p.Complete(t.Context(), session("forged"))
	if err != nil {
		t.Fatal(err)
	}
	evil := as(t, s, "verifier")
	m := nats.NewMsg(events.SubjectBeacon)
	if m.Data, err = events.Encode(forged); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Nats-Stream": events.StreamName, "Nats-Subject": events.SubjectFor(events.Session), "Nats-Sequence": "1",
		"Nats-Time-Stamp": time.Now().UTC().Format(time.RFC3339Nano), "Nats-Last-Sequence": "0", "Nats-TTL": "60s",
	} {
		m.Header.Set(name, value)
	}
	if err := evil.PublishMsg(m); err != nil {
		t.Fatal(err)
	}
	if err := evil.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	// Stored after the forged one; when it is applied, the forged one was seen.
	if _, err := p.Publish(t.Context(), session("true")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the true statement arrives", func() bool { return h.has("true") })
	if h.has("forged") {
		t.Error("a beacon was applied as a revocation")
	}
}
