package events_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// connected connects and gives a way to wait for the next connection.
func connected(t *testing.T, c events.ConnectConfig) (nc *nats.Conn, up, down chan nats.Status) {
	t.Helper()
	nc, err := events.Connect(c)
	if err != nil {
		t.Fatal(err)
	}
	natstest.Connected(t, nc)
	t.Cleanup(nc.Close)
	return nc, nc.StatusChanged(nats.CONNECTED), nc.StatusChanged(nats.RECONNECTING)
}

func await(t *testing.T, what string, c chan nats.Status) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("waited in vain: %s", what)
	}
}

// Certificates of both sides, and the authority itself, are replaced under a connection
// that stands; it is not disturbed, and the next one uses what is in the files then.
func TestRotatedCertificates(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	var cert, key string
	fresh := func() {
		cert, key = p.leaf("server", time.Now().Add(time.Hour), "127.0.0.1")
		p.leaf("client", time.Now().Add(time.Hour))
	}
	fresh()
	s := serve(t, func(o *server.Options) { p.tls(o, cert, key, true) })
	said := &lines{}
	nc, up, _ := connected(t, events.ConnectConfig{URL: s.URL(), CAFile: p.path("ca.crt"), CertFile: p.path("client.crt"), KeyFile: p.path("client.key"), Logger: said.logger()})
	next := newPlace(t).authority
	old := p.authority
	p.authority = next
	p.own(next)
	fresh() // all of another authority now
	if !nc.IsConnected() {
		t.Error("the connection did not survive that files changed")
	}
	s.Restart(t) // with the new files, on the same port
	await(t, "the connection with the new authority and certificates", up)

	// A client certificate that has expired is refused, and one put in its place is taken.
	p.leaf("client", time.Now().Add(-time.Minute))
	s.Restart(t)
	waitFor(t, "the refusal is logged", func() bool { return said.count("NATS does not let us in") > 0 })
	p.leaf("client", time.Now().Add(time.Hour))
	await(t, "the connection with the renewed certificate", up)

	// The authority is gone for a while: so is the server's trust, not the process.
	p.own(old)
	if err := nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the missing trust is logged", func() bool { return said.count("give the file with its authority") > 0 })
	p.own(next)
	await(t, "the connection with the right authority", up)
}

// An nkey is taken from the server by reloading its configuration: the node is thrown out
// and says why. A new seed in the same file is used without a restart.
func TestRotatedNKey(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	seed, public := p.user("node.nk")
	nkeys := []*server.NkeyUser{{Nkey: public}}
	var opts *server.Options
	s := serve(t, func(o *server.Options) { o.Nkeys = nkeys; opts = o.Clone() })
	said := &lines{}
	nc, up, down := connected(t, events.ConnectConfig{URL: s.URL(), NKeyFile: seed, Logger: said.logger()})
	reload := func(users ...*server.NkeyUser) {
		t.Helper()
		o := opts.Clone()
		o.Nkeys, o.Port = users, s.Port()
		if err := s.Server().ReloadOptions(o); err != nil {
			t.Fatal(err)
		}
	}
	_, other := p.user("other.nk")
	reload(&server.NkeyUser{Nkey: other})
	await(t, "the node is thrown out", down)
	waitFor(t, "the reason is logged", func() bool { return said.count("the server does not accept this user") > 0 })
	waitFor(t, "the connection has an error", func() bool { return nc.LastError() != nil })
	_, next := p.user("node.nk") // another seed in the same file
	reload(&server.NkeyUser{Nkey: other}, &server.NkeyUser{Nkey: next})
	await(t, "the connection with the new seed", up)

	// And the same user given back.
	reload(&server.NkeyUser{Nkey: other})
	await(t, "the node is thrown out again", down)
	reload(&server.NkeyUser{Nkey: next})
	await(t, "the connection once the user is back", up)
	for _, s := range secretsOf(t, seed) {
		if strings.Contains(said.String(), s) {
			t.Error("the log holds the seed")
		}
	}
	if n := said.count("NATS does not let us in"); n > 6 {
		t.Errorf("one reason was logged %d times in a moment", n)
	}
}

// The same in operator mode: the account revokes a user, whose node is thrown out at once,
// and new credentials in the same file are used.
func TestRotatedCredentials(t *testing.T) {
	t.Parallel()
	p, op := newPlace(t), newOperator(t)
	text, user := op.creds(0)
	file := p.put("node.creds", text)
	s := serve(t, op.options)
	said := &lines{}
	_, up, down := connected(t, events.ConnectConfig{URL: s.URL(), CredsFile: file, Logger: said.logger()})
	op.account.RevokeAt(user, time.Now().Add(time.Second))
	account, err := s.Server().LookupAccount(op.account.Subject)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := jwt.DecodeAccountClaims(op.store())
	if err != nil {
		t.Fatal(err)
	}
	s.Server().UpdateAccountClaims(account, claims)
	await(t, "the node is thrown out", down)
	waitFor(t, "the reason is logged", func() bool { return said.count("NATS does not let us in") > 0 })
	text, _ = op.creds(0)
	p.put("node.creds", text)
	await(t, "the connection with the new credentials", up)

	// Credentials that run out end the connection by themselves.
	s.Stop()
	await(t, "the server's end is seen", down)
	short := func() {
		text, _ := op.creds(3 * time.Second)
		p.put("node.creds", text)
	}
	short() // before there is a server to connect to with the others
	s.Restart(t)
	waitFor(t, "the connection with short-lived credentials", func() bool {
		select {
		case <-up:
			return true
		case <-time.After(time.Second):
			short() // these may be over before they were used
			return false
		}
	})
	await(t, "the credentials have expired", down)
	waitFor(t, "the expiry is logged", func() bool { return said.count("NATS does not let us in") > 1 })
	text, _ = op.creds(0)
	p.put("node.creds", text)
	await(t, "the connection with the next ones", up)
}
