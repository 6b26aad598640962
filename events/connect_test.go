package events_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

func TestConnectNamesTheField(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	if err := os.WriteFile(there, []byte("no seed"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing")
	for name, c := range map[string]struct {
		field  string
		config events.ConnectConfig
	}{
		"missing creds":        {"creds", events.ConnectConfig{CredsFile: missing}},
		"missing nkey":         {"nkey", events.ConnectConfig{NKeyFile: missing}},
		"directory as CA":      {"ca", events.ConnectConfig{CAFile: dir}},
		"missing certificate":  {"cert", events.ConnectConfig{CertFile: missing, KeyFile: there}},
		"missing key":          {"key", events.ConnectConfig{CertFile: there, KeyFile: missing}},
		"certificate, no key":  {"cert", events.ConnectConfig{CertFile: there}},
		"nkey without a seed":  {"nkey", events.ConnectConfig{NKeyFile: there}},
		"creds and nkey":       {"creds", events.ConnectConfig{CredsFile: there, NKeyFile: there}},
		"password, no user":    {"user", events.ConnectConfig{Password: "p"}},
		"user and creds":       {"user", events.ConnectConfig{User: "u", CredsFile: there}},
		"user, no password":    {"password", events.ConnectConfig{User: "u"}},
		"creds without a JWT":  {"creds", events.ConnectConfig{CredsFile: there}},
		"CA without PEM":       {"ca", events.ConnectConfig{CAFile: there}},
		"no certificate":       {"cert", events.ConnectConfig{CertFile: there, KeyFile: there}},
		"unknown scheme":       {"url", events.ConnectConfig{URL: "foo://127.0.0.1:1"}},
		"scheme":               {"url", events.ConnectConfig{URL: "http://127.0.0.1:1"}},
		"no host":              {"url", events.ConnectConfig{URL: "nats://:4222"}},
		"empty in a list":      {"url", events.ConnectConfig{URL: "nats://127.0.0.1:1,"}},
		"password cut off":     {"url", events.ConnectConfig{URL: "nats://user:12/secret@127.0.0.1:4222"}},
		"password cut off too": {"url", events.ConnectConfig{URL: "nats://user:12?secret@127.0.0.1:4222"}},
		"unreadable URL":       {"url", events.ConnectConfig{URL: "nats://user:secret@[::1"}},
		"inbox with wildcards": {"inbox_prefix", events.ConnectConfig{InboxPrefix: "_INBOX.>"}},
	} {
		if err := c.config.Validate(); !errors.Is(err, events.ErrInvalid) {
			t.Errorf("%s: Validate gives %v", name, err)
		}
		nc, err := events.Connect(c.config)
		if nc != nil {
			nc.Close()
		}
		var got *events.FieldError
		if !errors.As(err, &got) || got.Field != c.field || !errors.Is(err, events.ErrInvalid) {
			t.Errorf("%s: got %v, want a FieldError for %s", name, err, c.field)
			continue
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error shows a password: %v", name, err)
		}
	}
}

// A broker that is not there yet is no error; the connection comes by itself.
func TestConnectBeforeTheBrokerIsThere(t *testing.T) {
	t.Parallel()
	port := natstest.FreePorts(t, 1)[0]
	s := natstest.Start(t, natstest.WithPort(port))
	s.Stop()
	nc, err := events.Connect(events.ConnectConfig{URL: s.URL(), Name: "early", InboxPrefix: "_INBOX_early"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	up := nc.StatusChanged(nats.CONNECTED)
	if nc.IsConnected() {
		t.Fatal("connected to nothing")
	}
	if err := nc.Publish("x", nil); err == nil {
		t.Error("a publish into nothing was accepted: it would be sent later, unnoticed")
	}
	s.Restart(t)
	<-up
	s.Restart(t)
	<-up
	if !strings.HasPrefix(nc.NewInbox(), "_INBOX_early.") {
		t.Errorf("inbox: got %q", nc.NewInbox())
	}
	if err := nc.FlushTimeout(patience); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}

func TestConnectWithWrongCredentialsFails(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.WithConfig(func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: "right"}}
	}))
	err := answered(events.ConnectConfig{URL: s.URL(), User: "u", Password: "wrong"})
	if err == nil {
		t.Fatal("got a connection, want an error")
	}
	if !errors.Is(err, events.ErrUnavailable) || !errors.Is(err, nats.ErrAuthorization) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("got %v, want ErrUnavailable, the server's refusal, and no password", err)
	}
	if err := answered(events.ConnectConfig{URL: s.URL(), User: "u", Password: "right"}); err != nil {
		t.Fatal(err)
	}
}

// answered connects until the server has said yes or no: a busy one may have no time to.
func answered(c events.ConnectConfig) error {
	for {
		nc, err := events.Connect(c)
		if err != nil {
			return err
		}
		in := nc.IsConnected()
		nc.Close()
		if in {
			return nil
		}
	}
}

// A frozen broker leaves the connection open; pings find out.
func TestConnectNoticesAFrozenBroker(t *testing.T) {
	t.Parallel()
	p := natstest.StartProcess(t, t.TempDir(), 0)
	nc, err := events.Connect(events.ConnectConfig{URL: p.URL()})
	if err != nil {
		t.Fatal(err)
	}
	natstest.Connected(t, nc)
	t.Cleanup(nc.Close)
	lost := nc.StatusChanged(nats.RECONNECTING)
	p.Pause()
	select {
	case <-lost:
	case <-time.After(patience): // pings: 2 s apart, 2 may be unanswered
		t.Fatal("the dead link was not noticed")
	}
	p.Resume()
}
