package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"
)

const (
	dialPatience   = 3 * time.Second
	greetPatience  = time.Second     // a NATS server speaks first, at once
	answerPatience = 5 * time.Second // unless it is busy; others answer when they are asked
	tlsAlert       = "\x15"
)

var errNotNATS = errors.New("what answers there is no NATS server")

// probe dials each server of the list and fails only if none answers as NATS does: a
// refused connection, or another kind of server, is then a sentence at once instead of
// a silent wait.
func (f *natsFlags) probe(ctx context.Context) error {
	var last error
	for _, raw := range strings.Split(f.NATS, ",") {
		host := natsHost(raw)
		if host == "" {
			continue
		}
		if last = greeted(ctx, host, strings.HasPrefix(strings.TrimSpace(raw), "ws")); last == nil {
			return nil
		}
	}
	if last == nil {
		return usagef("--nats", "%q names no server, for example %s", f.redacted(), defaultNATSURL)
	}
	if errors.Is(last, errNotNATS) {
		return fmt.Errorf("--nats %s: %w", f.redacted(), last)
	}
	return fmt.Errorf("no NATS server answers at %s (%w): start one (quash up brings its own) or name it with --nats", f.redacted(), last)
}

// natsHost is HOST:PORT of one server of a NATS URL list; "" if it has none.
func natsHost(raw string) string {
	raw = strings.TrimSpace(raw)
	if raw == "" {
		return ""
	}
	if !strings.Contains(raw, "://") {
		raw = "nats://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = "4222"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// greeted dials, and waits for what a NATS server says first.
func greeted(ctx context.Context, host string, websocket bool) error {
	d := net.Dialer{Timeout: dialPatience}
	c, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // it was only a question
	if websocket {
		return nil // there the client speaks first
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	heard, silent := first(c, greetPatience)
	if silent && ctx.Err() == nil {
		// Whoever waits for a request will not like this one.
		if _, err := io.WriteString(c, "PING\r\n\r\n"); err != nil {
			return err
		}
		heard, silent = first(c, answerPatience)
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case heard == "INFO ", heard == "" && !silent, strings.HasPrefix(heard, tlsAlert):
		return nil // or one that goes away, or wants TLS at once: connecting tells more
	case heard == "HTTP/":
		return fmt.Errorf("%w but a web server: name the port for NATS clients, mostly 4222", errNotNATS)
	case silent:
		return fmt.Errorf("%w, or one that hangs: it says nothing", errNotNATS)
	}
	return fmt.Errorf("%w: name the port for NATS clients, mostly 4222", errNotNATS)
}

// first is the first five bytes, or fewer; silent: none came in time.
func first(c net.Conn, patience time.Duration) (heard string, silent bool) {
	b := make([]byte, len("INFO "))
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", false
	}
	n, err := io.ReadFull(c, b)
	timeout := net.Error(nil)
	return string(b[:n]), n == 0 && errors.As(err, &timeout) && timeout.Timeout()
}
