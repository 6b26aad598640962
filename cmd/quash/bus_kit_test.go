package main

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// securedNATS is a server with deploy/nats/production.conf and what "quash nats init" made.
type securedNATS struct {
	t     *testing.T
	dir   string // of the configuration; keys are in keys
	url   string
	store string
	srv   *server.Server
	said  *complaints
}

// secured runs the shipped production configuration as it is, but for addresses and paths
// of this machine, with the users given besides those of the compose file.
func secured(t *testing.T, users ...string) *securedNATS {
	t.Helper()
	s := &securedNATS{t: t, dir: t.TempDir(), said: &complaints{}}
	s.init(append([]string{"operator:operator", "publisher:publisher", "issuer:issuer-1", "records:records", "verifier:api-1", "verifier:api-2"}, users...)...)
	text := readText(t, filepath.Join(deployDir, "nats", "production.conf"))
	if err := os.WriteFile(filepath.Join(s.dir, "production.conf"), []byte(strings.ReplaceAll(text, "/etc/nats/keys", filepath.Join(s.dir, "keys"))), 0o600); err != nil {
		t.Fatal(err)
	}
	opts := s.options()
	if !opts.SyncAlways || !opts.JetStream || opts.StoreDir != "/data" || opts.TLSConfig == nil || opts.TLSTimeout < 2 || opts.AllowNonTLS || opts.NoAuthUser != "" {
		t.Errorf("the shipped configuration: sync always %v, JetStream %v, store %q, TLS %v within %v s, plain too %v, user of nobody %q",
			opts.SyncAlways, opts.JetStream, opts.StoreDir, opts.TLSConfig != nil, opts.TLSTimeout, opts.AllowNonTLS, opts.NoAuthUser)
	}
	if !isLoopback(opts.HTTPHost + ":1") {
		t.Errorf("the monitoring port listens on %s", opts.HTTPHost)
	}
	if len(opts.Users) > 0 {
		t.Errorf("%d users have passwords", len(opts.Users))
	}
	s.adapt(opts, server.RANDOM_PORT)
	s.store = t.TempDir()
	opts.StoreDir = s.store
	srv, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	srv.SetLoggerV2(&natsLog{log: slog.New(s.said)}, false, false, false)
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(patience) {
		t.Fatal("the server does not become ready")
	}
	s.srv, s.url = srv, "tls://"+srv.Addr().String()
	return s
}

func (s *securedNATS) options() *server.Options {
	s.t.Helper()
	opts, err := server.ProcessConfigFile(filepath.Join(s.dir, "production.conf"))
	if err != nil {
		s.t.Fatalf("the shipped configuration: %v", err)
	}
	return opts
}

func (s *securedNATS) adapt(o *server.Options, port int) {
	o.Host, o.Port, o.HTTPPort, o.NoSigs, o.NoLog = "127.0.0.1", port, 0, true, true
	o.TLSTimeout, o.AuthTimeout = patience.Seconds(), patience.Seconds() // clients here are as busy as this machine
}

// reload is what nats-server --signal reload does.
func (s *securedNATS) reload() {
	s.t.Helper()
	o := s.options()
	s.adapt(o, s.srv.Addr().(*net.TCPAddr).Port)
	o.StoreDir = s.store
	if err := s.srv.ReloadOptions(o); err != nil {
		s.t.Fatal(err)
	}
}

// init runs "quash nats init" once more.
func (s *securedNATS) init(users ...string) {
	s.t.Helper()
	if out, err := quashCommand(append([]string{"nats", "init", s.key("")}, users...)...).CombinedOutput(); err != nil {
		s.t.Fatalf("nats init: %v: %s", err, out)
	}
}

func (s *securedNATS) key(name string) string { return filepath.Join(s.dir, "keys", name) }

// user is the flags of one user, as "quash nats init" prints them.
func (s *securedNATS) user(role, name string) []string {
	args := []string{"--nats", s.url, "--nats-ca", s.key("ca.crt"), "--nats-nkey", s.key(role + "." + name + ".nk"), "--nats-inbox", "_INBOX_" + name}
	if role == "verifier" || role == "issuer" {
		args = append(args, "--nats-reader", name)
	}
	return args
}

// config is the same for the library.
func (s *securedNATS) config(role, name string) events.ConnectConfig {
	return events.ConnectConfig{URL: s.url, CAFile: s.key("ca.crt"), NKeyFile: s.key(role + "." + name + ".nk"), InboxPrefix: "_INBOX_" + name}
}

func (s *securedNATS) connect(role, name string) *nats.Conn {
	s.t.Helper()
	nc, err := events.Connect(s.config(role, name))
	if err != nil {
		s.t.Fatal(err)
	}
	natstest.Connected(s.t, nc)
	s.t.Cleanup(nc.Close)
	return nc
}

// ensure creates the streams as the operator.
func (s *securedNATS) ensure() {
	s.t.Helper()
	if out, err := quashCommand(append([]string{"stream", "ensure"}, s.user("operator", "operator")...)...).CombinedOutput(); err != nil {
		s.t.Fatalf("stream ensure: %v: %s", err, out)
	}
}
