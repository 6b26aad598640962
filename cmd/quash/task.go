package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// task is a goroutine with an owner: stop ends it and waits. quash demo uses it
// where parts must stop and start one by one, which oklog/run is not for.
type task struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // valid once done is closed
}

func start(f func(context.Context) error) *task {
	ctx, cancel := context.WithCancel(context.Background())
	t := &task{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(t.done)
		t.err = f(ctx)
	}()
	return t
}

// stop may be called again, and on nil.
func (t *task) stop() error {
	if t == nil {
		return nil
	}
	t.cancel()
	<-t.done
	return t.err
}

// serveHTTP serves h on l until the task is stopped.
func serveHTTP(l net.Listener, h http.Handler, log *slog.Logger) *task {
	srv := newHTTPServer(h, log)
	return start(func(ctx context.Context) error {
		served := start(func(context.Context) error { return ignoreClosed(srv.Serve(l)) })
		select {
		case <-ctx.Done():
		case <-served.done:
		}
		shutdown(srv, time.Second)
		return served.stop()
	})
}
