package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/quash-auth/quash/internal/natstest"
)

// speaks is a server that says one thing to each connection, when it was asked if it waits to be.
func speaks(t *testing.T, waits bool, text string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if waits {
				_, _ = c.Read(make([]byte, 64))
			}
			_, _ = io.WriteString(c, text)
			if waits && text == "" {
				_, _ = io.Copy(io.Discard, c)
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// TestProbe: what is no NATS server is said to be none at once, and what it is if it can be told.
func TestProbe(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close) // after the cases
	good := strings.TrimPrefix(natstest.Start(t).URL(), "nats://")
	page := strings.TrimPrefix(web.URL, "http://")
	silent := speaks(t, true, "")
	for _, c := range []struct{ what, list, want string }{
		{"NATS", good, ""},
		{"a list with one of it", "nats://" + page + ",nats://" + good, ""},
		{"a web server", page, "is no NATS server but a web server: name the port for NATS clients"},
		{"a web server, by way of TLS", "tls://" + page, "is no NATS server but a web server"},
		{"one that says something else", speaks(t, false, "220 mail ready\r\n"), "is no NATS server: name the port"},
		{"one that answers something else", speaks(t, true, "-ERR unknown command\r\n"), "is no NATS server: name the port"},
		{"one that says nothing", silent, "or one that hangs: it says nothing"},
		{"one that says nothing, as it should before it is asked", "ws://" + silent, ""},
		{"one that goes away", speaks(t, false, ""), ""},
		{"one that wants TLS at once", speaks(t, true, tlsAlert+"\x03\x03\x00\x02\x02\x0a"), ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			f := &natsFlags{NATS: c.list}
			err := f.probe(t.Context())
			if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "--nats ")) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
