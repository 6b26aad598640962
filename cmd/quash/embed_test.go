package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// TestEmbed_littleRoom: what our streams reserve can be reserved although less is free on the disk, and that is said; where there
// is enough the server keeps what it finds right.
func TestEmbed_littleRoom(t *testing.T) {
	t.Parallel()
	for least, little := range map[int64]bool{1: false, 1 << 50: true} {
		var said bytes.Buffer
		e, err := startStore("--nats-listen", "127.0.0.1:0", t.TempDir(), least, slog.New(slog.NewTextHandler(&said, nil)))
		if err != nil {
			t.Fatal(err)
		}
		most := e.srv.JetStreamConfig().MaxStore
		e.stop()
		if most < least || (most == least) != little || strings.Contains(said.String(), "little room") != little {
			t.Errorf("at least %d: the server keeps %d, and said %q", least, most, said.String())
		}
	}
}
