package main

import (
	"log/slog"
	"testing"
)

// TestEmbed_storeLimit: what the embedded server can reserve does not depend on what is free on the disk when it starts.
func TestEmbed_storeLimit(t *testing.T) {
	t.Parallel()
	e, err := startNATS("--nats-listen", "127.0.0.1:0", t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer e.stop()
	if got := e.srv.JetStreamConfig().MaxStore; got != storeLimit {
		t.Errorf("the server keeps up to %d bytes, want %d", got, storeLimit)
	}
}
