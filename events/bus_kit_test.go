package events_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/quash-auth/quash/internal/buskeys"
	"github.com/quash-auth/quash/internal/natstest"
)

// place is a directory with the files of one side of a bus.
type place struct {
	t         testing.TB
	dir       string
	authority *buskeys.Authority
}

func newPlace(t testing.TB) *place {
	t.Helper()
	a, err := buskeys.NewAuthority("test bus", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	p := &place{t: t, dir: t.TempDir(), authority: a}
	p.own(a)
	return p
}

// own writes ca.crt.
func (p *place) own(a *buskeys.Authority) {
	p.t.Helper()
	cert, _, err := a.PEM()
	if err != nil {
		p.t.Fatal(err)
	}
	p.put("ca.crt", cert)
}

func (p *place) put(name string, text []byte) string {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := buskeys.WriteSecret(path, text); err != nil {
		p.t.Fatal(err)
	}
	return path
}

func (p *place) path(name string) string { return filepath.Join(p.dir, name) }

// leaf writes NAME.crt and NAME.key.
func (p *place) leaf(name string, expiry time.Time, hosts ...string) (cert, key string) {
	p.t.Helper()
	c, k, err := p.authority.Issue(buskeys.Leaf{Name: name, Hosts: hosts, Now: time.Now(), Expiry: expiry})
	if err != nil {
		p.t.Fatal(err)
	}
	return p.put(name+".crt", c), p.put(name+".key", k)
}

// user writes a seed and gives the public key.
func (p *place) user(name string) (file, public string) {
	p.t.Helper()
	seed, public, err := buskeys.NewUser()
	if err != nil {
		p.t.Fatal(err)
	}
	return p.put(name, seed), public
}

// tls makes the server demand TLS, and client certificates if verify is true.
func (p *place) tls(o *server.Options, cert, key string, verify bool) {
	p.t.Helper()
	c, err := server.GenTLSConfig(&server.TLSConfigOpts{CertFile: cert, KeyFile: key, CaFile: p.path("ca.crt"), Verify: verify})
	if err != nil {
		p.t.Fatal(err)
	}
	o.TLSConfig, o.TLS, o.TLSVerify, o.TLSTimeout = c, true, verify, 5
}

// serve runs a server without storage: these tests are about who gets in.
func serve(t testing.TB, configure func(*server.Options)) *natstest.Server {
	t.Helper()
	return natstest.Start(t, natstest.WithConfig(func(o *server.Options) {
		o.JetStream = false
		configure(o)
	}))
}

// operator is a bus in operator mode with one account.
type operator struct {
	t        testing.TB
	claims   *jwt.OperatorClaims
	account  *jwt.AccountClaims
	key      nkeys.KeyPair // of the operator
	signer   nkeys.KeyPair // of the account
	resolver *server.MemAccResolver
}

func newOperator(t testing.TB) *operator {
	t.Helper()
	o := &operator{t: t, resolver: &server.MemAccResolver{}}
	var err error
	if o.key, err = nkeys.CreateOperator(); err != nil {
		t.Fatal(err)
	}
	if o.signer, err = nkeys.CreateAccount(); err != nil {
		t.Fatal(err)
	}
	o.claims = jwt.NewOperatorClaims(o.public(o.key))
	o.account = jwt.NewAccountClaims(o.public(o.signer))
	o.store()
	return o
}

func (o *operator) public(k nkeys.KeyPair) string {
	o.t.Helper()
	p, err := k.PublicKey()
	if err != nil {
		o.t.Fatal(err)
	}
	return p
}

// store publishes the account as it is now.
func (o *operator) store() string {
	o.t.Helper()
	text, err := o.account.Encode(o.key)
	if err != nil {
		o.t.Fatal(err)
	}
	if err := o.resolver.Store(o.account.Subject, text); err != nil {
		o.t.Fatal(err)
	}
	return text
}

func (o *operator) options(s *server.Options) {
	s.TrustedOperators, s.AccountResolver = []*jwt.OperatorClaims{o.claims}, o.resolver
}

// creds gives a credentials file of a new user, and the user.
func (o *operator) creds(expires time.Duration) (text []byte, user string) {
	o.t.Helper()
	k, err := nkeys.CreateUser()
	if err != nil {
		o.t.Fatal(err)
	}
	c := jwt.NewUserClaims(o.public(k))
	if expires != 0 {
		c.Expires = time.Now().Add(expires).Unix()
	}
	token, err := c.Encode(o.signer)
	if err != nil {
		o.t.Fatal(err)
	}
	seed, err := k.Seed()
	if err != nil {
		o.t.Fatal(err)
	}
	if text, err = jwt.FormatUserConfig(token, seed); err != nil {
		o.t.Fatal(err)
	}
	return text, c.Subject
}

// lines is a log that can be waited for.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (l *lines) count(part string) int { return strings.Count(l.String(), part) }

// secretsOf are the words of the files and texts that no message may hold.
func secretsOf(t testing.TB, files ...string) (all []string) {
	t.Helper()
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); len(line) > 20 && !strings.HasPrefix(line, "-") && !strings.HasPrefix(line, "*") {
				all = append(all, line)
			}
		}
	}
	return all
}
