package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// embedded is a NATS server in this process, with JetStream on disk. Every
// acknowledged message is on the disk before its ack (SyncAlways).
type embedded struct {
	srv  *server.Server
	addr string // HOST:PORT, kept for a restart on the same port
}

// startPatience is for a busy machine: a server that cannot start says so at once.
const startPatience = time.Minute

// leastStore is what our streams reserve, 1.1 GiB, and as much again for users and sessions.
const leastStore = 2 << 30

// startNATS starts a server at address (port 0: any free port) that stores under
// dir. It has no accounts, so the address should be a loopback one.
func startNATS(flag, address, dir string, log *slog.Logger) (*embedded, error) {
	return startStore(flag, address, dir, leastStore, log)
}

// startStore is startNATS for streams that reserve least bytes.
func startStore(flag, address, dir string, least int64, log *slog.Logger) (*embedded, error) {
	// The server itself would only log that its port is taken; asking first
	// gives the user a sentence.
	probe, err := bind(flag, address)
	if err != nil {
		return nil, err
	}
	host, portText, err := net.SplitHostPort(probe.Addr().String())
	closeAll(probe)
	if err != nil {
		return nil, fmt.Errorf("reading the address of %s: %w", flag, err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, fmt.Errorf("reading the port of %s: %w", flag, err)
	}
	opts := server.Options{
		ServerName: "quash-embedded",
		Host:       host,
		Port:       port,
		JetStream:  true,
		StoreDir:   dir,
		SyncAlways: true,
		NoSigs:     true,
		NoLog:      true, // ours is set below
	}
	srv, err := serve(opts, log)
	if err != nil {
		return nil, err
	}
	// Left to itself the server keeps three quarters of what is free on the disk, and refuses to reserve more, even for a
	// stream that never becomes so large.
	if most := srv.JetStreamConfig().MaxStore; most < least {
		log.Warn("the disk of the embedded NATS server has little room: when it is full nothing can be revoked, and then quash has to be started again once there is room",
			"dir", dir, "usable_bytes", most, "reserved_bytes", least)
		(&embedded{srv: srv}).stop()
		opts.JetStreamMaxStore = least
		if srv, err = serve(opts, log); err != nil {
			return nil, err
		}
	}
	return &embedded{srv: srv, addr: srv.Addr().String()}, nil
}

// serve starts a server and waits until it can store.
func serve(opts server.Options, log *slog.Logger) (*server.Server, error) {
	nl := &natsLog{log: log}
	srv, err := server.NewServer(&opts)
	if err != nil {
		return nil, fmt.Errorf("preparing the embedded NATS server: %w", err)
	}
	srv.SetLoggerV2(nl, false, false, false)
	srv.Start()
	if !nl.waitReady(srv, startPatience) {
		srv.Shutdown()
		srv.WaitForShutdown()
		return nil, fmt.Errorf("the embedded NATS server does not start with its store %s (%s): mend that, or choose another directory", opts.StoreDir, nl.last())
	}
	if !srv.JetStreamEnabled() {
		srv.Shutdown()
		srv.WaitForShutdown()
		return nil, fmt.Errorf("the embedded NATS server can not store under %s (%s): check the disk and the permissions", opts.StoreDir, nl.last())
	}
	return srv, nil
}

// url is where clients on this machine connect.
func (e *embedded) url() string { return "nats://" + reachable(e.addr) }

// run keeps the server until ctx ends, and then stops it.
func (e *embedded) run(ctx context.Context) error {
	<-ctx.Done()
	e.stop()
	return nil
}

// stop flushes and closes the stores. It may be called again.
func (e *embedded) stop() {
	e.srv.Shutdown()
	e.srv.WaitForShutdown()
}

// natsLog passes what the server says on: its warnings and errors only, because
// its notices are about itself, not about quash.
type natsLog struct {
	log *slog.Logger

	mu       sync.Mutex // guards the two texts
	dead     string
	lastText string
}

func (l *natsLog) note(level slog.Level, format string, v ...any) string {
	text := fmt.Sprintf(format, v...)
	l.mu.Lock()
	if level >= slog.LevelWarn {
		l.lastText = text
	}
	l.mu.Unlock()
	l.log.Log(context.Background(), level, "nats-server: "+text)
	return text
}

func (l *natsLog) Noticef(format string, v ...any) { l.note(slog.LevelDebug, format, v...) }
func (l *natsLog) Debugf(format string, v ...any)  { l.note(slog.LevelDebug, format, v...) }
func (l *natsLog) Tracef(format string, v ...any)  { l.note(slog.LevelDebug, format, v...) }
func (l *natsLog) Warnf(format string, v ...any)   { l.note(slog.LevelWarn, format, v...) }
func (l *natsLog) Errorf(format string, v ...any)  { l.note(slog.LevelError, format, v...) }

// Fatalf must not end the process: the caller sees that the server is not ready.
func (l *natsLog) Fatalf(format string, v ...any) {
	text := l.note(slog.LevelDebug, format, v...) // the caller says it in its own words
	l.mu.Lock()
	l.dead, l.lastText = text, text
	l.mu.Unlock()
}

// waitReady is false at once if the server has given up.
func (l *natsLog) waitReady(srv *server.Server, limit time.Duration) bool {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline) && l.fatal() == ""; {
		if srv.ReadyForConnections(20 * time.Millisecond) {
			return l.fatal() == ""
		}
	}
	return false
}

func (l *natsLog) fatal() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

func (l *natsLog) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lastText
}
