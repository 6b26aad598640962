package natstest_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/internal/natstest"
)

// store creates a stream and puts one message into it.
func store(t *testing.T, nc *nats.Conn, replicas int) {
	t.Helper()
	js := open(t, nc)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: replicas}); err != nil {
		t.Fatalf("create stream: %v", err)
	}
	if _, err := js.Publish(ctx, "s", []byte("x")); err != nil {
		t.Fatalf("publish: %v", err)
	}
}

func open(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// stored fails unless the message is still there.
func stored(t *testing.T, nc *nats.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	js := open(t, nc)
	s, err := js.Stream(ctx, "S")
	for err != nil && ctx.Err() == nil { // servers that have just elected a leader may not say so yet
		s, err = js.Stream(ctx, "S")
	}
	if err != nil {
		t.Fatalf("stream after a restart: %v", err)
	}
	if got := s.CachedInfo().State.Msgs; got != 1 {
		t.Fatalf("messages after a restart: got %d, want 1", got)
	}
}

func TestServerKeepsItsPortAndStoreOverARestart(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	store(t, s.Connect(t), 1)
	port := s.Port()
	s.Restart(t)
	if s.Port() != port {
		t.Fatalf("port after a restart: got %d, want %d", s.Port(), port)
	}
	stored(t, s.Connect(t))
}

func TestProcessSurvivesKillAndFreeze(t *testing.T) {
	t.Parallel()
	p := natstest.StartProcess(t, t.TempDir(), 0)
	store(t, p.Connect(t), 1)
	p.Kill()
	p.Restart(t)
	nc := p.Connect(t)
	stored(t, nc)
	p.Pause()
	if err := nc.FlushTimeout(50 * time.Millisecond); err == nil {
		t.Fatal("a frozen server answered")
	}
	p.Resume()
	if err := nc.FlushTimeout(3 * time.Minute); err != nil {
		t.Fatalf("a resumed server does not answer: %v", err)
	}
}

func TestClusterReplicates(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, 3)
	nc := c.Connect(t)
	store(t, nc, 3)
	first := c.Leader("S")
	first.Stop()
	if second := c.Leader("S"); second == first {
		t.Fatal("the stopped server is still the leader")
	}
	stored(t, nc)
	first.Restart(t)
	c.WaitReady(t)
}
