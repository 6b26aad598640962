package natstest

import (
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// patience is how long a server may take to come up or to form a cluster. It is
// a limit for broken runs, not something a healthy run waits for.
const patience = 3 * time.Minute

// Server is one nats-server with JetStream in this process.
type Server struct {
	srv     *server.Server
	options func() *server.Options
	dir     string
	port    int
}

type settings struct {
	dir    string
	port   int
	config []func(*server.Options)
}

// Option changes how a server is started.
type Option func(*settings)

// WithDir keeps the store in dir instead of a temporary directory.
func WithDir(dir string) Option { return func(s *settings) { s.dir = dir } }

// WithPort listens on port instead of a free one.
func WithPort(port int) Option { return func(s *settings) { s.port = port } }

// WithConfig changes the server's options before each start.
func WithConfig(f func(*server.Options)) Option {
	return func(s *settings) { s.config = append(s.config, f) }
}

// Start runs a server until the test ends. Acknowledged messages are synced to
// disk (SyncAlways), as in the shipped configuration.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	var set settings
	for _, o := range opts {
		o(&set)
	}
	if set.port == 0 {
		set.port = FreePorts(t, 1)[0] // and not the server's choice, which somebody may take during a restart
	}
	if set.dir == "" {
		set.dir = t.TempDir()
	}
	s := &Server{dir: set.dir, port: set.port}
	s.options = func() *server.Options {
		o := baseOptions(s.dir, s.port)
		for _, f := range set.config {
			f(o)
		}
		return o
	}
	s.start(t)
	t.Cleanup(s.Stop)
	return s
}

// storeLimit is what the streams of a test can reserve, whatever is free on the disk: what they reserve they do not use.
const storeLimit = 1 << 40

func baseOptions(dir string, port int) *server.Options {
	return &server.Options{
		Host: "127.0.0.1", Port: port,
		NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: dir, SyncAlways: true, JetStreamMaxStore: storeLimit,
		AuthTimeout: patience.Seconds(), // of a client that a busy machine lets wait
	}
}

func (s *Server) start(t testing.TB) {
	t.Helper()
	srv, err := server.NewServer(s.options())
	if err != nil {
		t.Fatalf("configure nats-server: %v", err)
	}
	srv.Start()
	if !srv.ReadyForConnections(patience) {
		srv.Shutdown()
		t.Fatalf("nats-server is not ready for connections after %v", patience)
	}
	s.srv, s.port = srv, srv.Addr().(*net.TCPAddr).Port
}

// Stop shuts the server down and waits for it. Stopping twice is harmless.
func (s *Server) Stop() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}

// Restart stops the server if it runs and starts it again on the same port and
// directory.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop()
	s.start(t)
}

// URL returns the address for clients.
func (s *Server) URL() string { return "nats://127.0.0.1:" + strconv.Itoa(s.port) }

// Dir returns the store's directory.
func (s *Server) Dir() string { return s.dir }

// Port returns the port for clients.
func (s *Server) Port() int { return s.port }

// Server returns the nats-server itself, for what this package does not offer.
func (s *Server) Server() *server.Server { return s.srv }

// Connect connects to the server; the connection is closed when the test ends.
func (s *Server) Connect(t testing.TB, opts ...nats.Option) *nats.Conn {
	t.Helper()
	return connect(t, s.URL(), opts...)
}

func connect(t testing.TB, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	all := append([]nats.Option{
		nats.Timeout(patience),
		nats.MaxReconnects(-1), nats.ReconnectWait(50 * time.Millisecond),
		nats.ReconnectJitter(20*time.Millisecond, 20*time.Millisecond),
	}, opts...)
	nc, err := nats.Connect(url, all...)
	if err != nil {
		t.Fatalf("connect to %s: %v", url, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// Connected waits until a connection is up that somebody else made, who may wait less long for a busy server.
func Connected(t testing.TB, nc *nats.Conn) *nats.Conn {
	t.Helper()
	eventually(t, "the connection is up", nc.IsConnected)
	return nc
}
