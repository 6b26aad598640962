package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oklog/run"
)

// Actors are added in the order in which they must stop: oklog/run interrupts
// them one after another in the order of Add, and an interrupt that blocks holds
// back the next. The signal actor comes last.

// addSignals ends the group on Ctrl-C or SIGTERM, also on one that comes before the group runs: the other actors may have said
// already that they do. A second one ends the process at once.
func addSignals(g *run.Group) {
	caught, over := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(caught, os.Interrupt, syscall.SIGTERM)
	g.Add(func() error {
		defer signal.Stop(caught)
		select {
		case s := <-caught:
			return &run.SignalError{Signal: s}
		case <-over:
			return nil
		}
	}, func(error) { close(over) })
}

// addRun adds something with a Run(ctx) that returns when its context ends. Its
// interrupt waits until Run has returned, so that what comes later in the order
// (the NATS server, say) is still there for its last words.
func addRun(g *run.Group, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	g.Add(func() error {
		defer close(done)
		return f(ctx)
	}, func(error) {
		cancel()
		<-done
	})
}

// addDrain says "not ready" first and waits, so that load balancers take their
// traffic elsewhere before the server stops accepting.
func addDrain(g *run.Group, wait time.Duration, ds ...*draining) {
	stop := make(chan struct{})
	g.Add(func() error {
		<-stop
		return nil
	}, func(error) {
		for _, d := range ds {
			d.on.Store(true)
		}
		if wait > 0 {
			time.Sleep(wait)
		}
		close(stop)
	})
}

// addHTTP serves h on l. Interrupted, it lets running requests finish, but not
// for ever.
func addHTTP(g *run.Group, l net.Listener, h http.Handler, log *slog.Logger) {
	srv := newHTTPServer(h, log)
	g.Add(func() error {
		return ignoreClosed(srv.Serve(l))
	}, func(error) {
		shutdown(srv, 5*time.Second)
	})
}

// newHTTPServer has every timeout set: the zero values wait for ever. None of our
// handlers lasts long, so an answer that nobody reads ends like a request that
// nobody finishes.
func newHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

func shutdown(srv *http.Server, limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		_ = srv.Close() // the time for politeness is over
	}
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// runGroup runs the actors; a signal is the normal end.
func runGroup(g *run.Group) error {
	if err := g.Run(); err != nil && !errors.Is(err, run.ErrSignal) {
		return err
	}
	return nil
}

// draining is set once a process has begun to stop.
type draining struct{ on atomic.Bool }

// wrap answers readiness probes with 503 while draining.
func (d *draining) wrap(ready http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.on.Load() {
			w.Header().Set("Cache-Control", "no-store")
			http.Error(w, "shutting down", http.StatusServiceUnavailable)
			return
		}
		ready.ServeHTTP(w, r)
	})
}
