package events_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// Every way to prove who one is works against a real server, and each mistake is
// refused with a sentence that says what to do and holds no secret.
func TestConnectProvesIdentity(t *testing.T) {
	t.Parallel()
	p, stranger := newPlace(t), newPlace(t)
	later := time.Now().Add(time.Hour)
	cert, key := p.leaf("server", later, "127.0.0.1")
	oldCert, oldKey := p.leaf("expired", time.Now().Add(-time.Minute), "127.0.0.1")
	otherCert, otherKey := p.leaf("elsewhere", later, "nats.example")
	clientCert, clientKey := p.leaf("client", later)
	lateCert, lateKey := p.leaf("late", time.Now().Add(-time.Minute))
	strangeCert, strangeKey := stranger.leaf("client", later)
	seed, public := p.user("node.nk")
	wrongSeed, _ := p.user("wrong.nk")
	op := newOperator(t)
	good, _ := op.creds(0)
	expired, _ := op.creds(-time.Minute)
	strange, _ := newOperator(t).creds(0)
	creds, lateCreds, strangeCreds := p.put("good.creds", good), p.put("late.creds", expired), p.put("strange.creds", strange)

	plain := serve(t, func(*server.Options) {})
	users := func(o *server.Options) { o.Users = []*server.User{{Username: "node", Password: "right-password"}} }
	tls := serve(t, func(o *server.Options) { p.tls(o, cert, key, false) })
	mutual := serve(t, func(o *server.Options) { p.tls(o, cert, key, true) })
	aged := serve(t, func(o *server.Options) { p.tls(o, oldCert, oldKey, false) })
	misnamed := serve(t, func(o *server.Options) { p.tls(o, otherCert, otherKey, false) })
	password := serve(t, func(o *server.Options) { p.tls(o, cert, key, false); users(o) })
	nkey := serve(t, func(o *server.Options) {
		p.tls(o, cert, key, true)
		o.Nkeys = []*server.NkeyUser{{Nkey: public}}
	})
	operators := serve(t, func(o *server.Options) { p.tls(o, cert, key, false); op.options(o) })
	open := serve(t, users)

	ca, strangeCA := p.path("ca.crt"), stranger.path("ca.crt")
	secrets := append(secretsOf(t, seed, wrongSeed, clientKey, lateKey, strangeKey, creds, lateCreds, strangeCreds), "right-password", "wrong-password")
	type config = events.ConnectConfig
	for _, c := range []struct {
		name   string
		server *natstest.Server
		config config
		want   string // of the message; empty: it connects
	}{
		{"TLS", tls, config{CAFile: ca}, ""},
		{"mutual TLS", mutual, config{CAFile: ca, CertFile: clientCert, KeyFile: clientKey}, ""},
		{"password", password, config{CAFile: ca, User: "node", Password: "right-password"}, ""},
		{"nkey and mutual TLS", nkey, config{CAFile: ca, CertFile: clientCert, KeyFile: clientKey, NKeyFile: seed}, ""},
		{"credentials", operators, config{CAFile: ca, CredsFile: creds}, ""},
		{"plain", plain, config{}, ""},

		{"another authority", tls, config{CAFile: strangeCA}, "give the file with its authority's certificate"},
		{"no authority given", tls, config{}, "give the file with its authority's certificate"},
		{"expired certificate of the server", aged, config{CAFile: ca}, "renew it at the server"},
		{"certificate for another name", misnamed, config{CAFile: ca}, "use one of its names"},
		{"TLS wanted of a plain server", plain, config{CAFile: ca}, "turn TLS on at the server"},
		{"password for a plain server that should have TLS", open, config{CAFile: ca, User: "node", Password: "right-password"}, "without it nothing was sent"},
		{"no client certificate", mutual, config{CAFile: ca}, "certificate"},
		{"client certificate of another authority", mutual, config{CAFile: ca, CertFile: strangeCert, KeyFile: strangeKey}, "certificate"},
		{"expired client certificate", mutual, config{CAFile: ca, CertFile: lateCert, KeyFile: lateKey}, "certificate"},
		{"wrong password", password, config{CAFile: ca, User: "node", Password: "wrong-password"}, "check the user and password"},
		{"no user", password, config{CAFile: ca}, "check the user and password"},
		{"wrong seed", nkey, config{CAFile: ca, CertFile: clientCert, KeyFile: clientKey, NKeyFile: wrongSeed}, "nkey or credentials file"},
		{"nkey for a server without any", password, config{CAFile: ca, NKeyFile: seed}, "user"},
		{"expired credentials", operators, config{CAFile: ca, CredsFile: lateCreds}, "credentials"},
		{"another operator's credentials", operators, config{CAFile: ca, CredsFile: strangeCreds}, "credentials file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.config.URL = c.server.URL()
			said := &lines{}
			c.config.Logger = said.logger()
			nc, err := events.Connect(c.config)
			for err == nil && !nc.IsConnected() { // the server had no time to say anything
				nc.Close()
				nc, err = events.Connect(c.config)
			}
			if err == nil {
				defer nc.Close()
			}
			switch {
			case c.want == "" && err != nil:
				t.Fatal(err)
			case c.want == "":
			case err == nil:
				t.Fatal("got a connection")
			case !errors.Is(err, events.ErrUnavailable) || !strings.Contains(err.Error(), c.want):
				t.Errorf("got %v, want ErrUnavailable and %q", err, c.want)
			}
			for _, text := range []string{said.String(), errorText(err)} {
				for _, s := range secrets {
					if strings.Contains(text, s) {
						t.Errorf("a secret is in %q", text)
					}
				}
			}
		})
	}
	// The scheme alone demands TLS as well, with the authorities of the system.
	if err := answered(config{URL: strings.Replace(plain.URL(), "nats://", "tls://", 1)}); !errors.Is(err, nats.ErrSecureConnWanted) {
		t.Errorf("tls:// to a plain server: got %v", err)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// What was TLS stays TLS: a server that answers a reconnect without it is not believed.
func TestReconnectKeepsTLS(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	cert, key := p.leaf("server", time.Now().Add(time.Hour), "127.0.0.1")
	secure := true
	s := serve(t, func(o *server.Options) {
		if secure {
			p.tls(o, cert, key, false)
		}
	})
	said := &lines{}
	nc, err := events.Connect(events.ConnectConfig{URL: s.URL(), CAFile: p.path("ca.crt"), Logger: said.logger()})
	if err != nil {
		t.Fatal(err)
	}
	natstest.Connected(t, nc)
	t.Cleanup(nc.Close)
	up := nc.StatusChanged(nats.CONNECTED)
	s.Stop()
	secure = false
	s = natstest.Start(t, natstest.WithPort(s.Port()))
	waitFor(t, "the refusal is logged", func() bool { return said.count("the server offers no TLS") > 0 })
	if nc.IsConnected() {
		t.Error("connected without TLS")
	}
	s.Stop()
	natstest.Start(t, natstest.WithPort(s.Port()), natstest.WithConfig(func(o *server.Options) { p.tls(o, cert, key, false) }))
	<-up
}
