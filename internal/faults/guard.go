package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/buskeys"
	"github.com/quash-auth/quash/internal/ports"
)

// guard is a bus with mutual TLS and an nkey for each process. Nil: everybody gets in.
type guard struct {
	dir       string
	authority *buskeys.Authority
	address   string // of the server
	monitor   string // where it says what it holds
	store     string

	mu      sync.Mutex // guards what follows
	users   map[string]string
	without []string // users that the server does not let in
}

func newGuard(dir string) (*guard, error) {
	g := &guard{dir: dir, users: map[string]string{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	if g.authority, err = buskeys.NewAuthority("faults", time.Now(), 24*time.Hour); err != nil {
		return nil, err
	}
	cert, _, err := g.authority.PEM()
	if err != nil {
		return nil, err
	}
	if err := buskeys.WritePublic(g.path("ca.crt"), cert); err != nil {
		return nil, err
	}
	return g, g.certify("server", 24*time.Hour, "127.0.0.1")
}

func (g *guard) path(name string) string { return filepath.Join(g.dir, name) }

// certify gives somebody a new certificate, in the place of the one there is.
func (g *guard) certify(name string, life time.Duration, hosts ...string) error {
	now := time.Now()
	cert, key, err := g.authority.Issue(buskeys.Leaf{Name: name, Hosts: hosts, Now: now, Expiry: now.Add(life)})
	if err != nil {
		return err
	}
	if err := buskeys.WriteSecret(g.path(name+".key"), key); err != nil {
		return err
	}
	return buskeys.WritePublic(g.path(name+".crt"), cert)
}

// admit makes users, or gives them new seeds. Who is new must be known to the server
// before it connects, see write.
func (g *guard) admit(names ...string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, name := range names {
		seed, public, err := buskeys.NewUser()
		if err != nil {
			return err
		}
		if err := buskeys.WriteSecret(g.path(name+".nk"), seed); err != nil {
			return err
		}
		if g.users[name] == "" {
			if err := g.certify(name, 24*time.Hour); err != nil {
				return err
			}
		}
		g.users[name] = public
	}
	return nil
}

// others is everybody but the driver.
func (g *guard) others() []string {
	return []string{"issuer-1", "deny-1", "deny-2", "allow-1", "allow-2", "publisher-0", "publisher-1"}
}

// knows says whether a public nkey is one that somebody has now.
func (g *guard) knows(public string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, has := range g.users {
		if has == public {
			return true
		}
	}
	return false
}

// write writes the server's configuration.
func (g *guard) write() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var users []string
	for name, public := range g.users {
		if !slices.Contains(g.without, name) {
			users = append(users, fmt.Sprintf("{nkey: %s}", public))
		}
	}
	slices.Sort(users)
	text := fmt.Sprintf("listen: %q\nhttp: %q\njetstream {store_dir: %q, sync_interval: always}\ntls {cert_file: %q, key_file: %q, ca_file: %q, verify: true, timeout: 5}\nauthorization {users: [\n%s\n]}\n",
		g.address, g.monitor, g.store, g.path("server.crt"), g.path("server.key"), g.path("ca.crt"), strings.Join(users, "\n"))
	return buskeys.WriteSecret(g.path("nats.conf"), []byte(text))
}

// start runs the one server of a guarded world.
func (g *guard) start(w *world) error {
	var err error
	if g.address, err = ports.Address(); err != nil {
		return err
	}
	if g.monitor, err = ports.Address(); err != nil {
		return err
	}
	g.store = filepath.Join(w.dir, "nats-0")
	if err := g.admit(append(g.others(), "driver")...); err != nil {
		return err
	}
	if err := g.write(); err != nil {
		return err
	}
	s := &server{address: g.address, dir: g.store, process: &process{name: "nats-0", args: []string{w.bin.natsd, "-conf", g.path("nats.conf")}}}
	s.monitor = g.monitor
	w.servers = append(w.servers, s)
	return s.start()
}

// reload has the server read its configuration again.
func (g *guard) reload(w *world) error {
	if err := g.write(); err != nil {
		return err
	}
	return w.servers[0].signal(syscall.SIGHUP)
}

// take takes users from the server, and gives back those that were taken before.
func (g *guard) take(w *world, names ...string) error {
	g.mu.Lock()
	g.without = names
	g.mu.Unlock()
	return g.reload(w)
}

// config adds what proves that somebody is who he is.
func (g *guard) config(c events.ConnectConfig, name string) events.ConnectConfig {
	if g != nil {
		c.CAFile, c.CertFile, c.KeyFile, c.NKeyFile = g.path("ca.crt"), g.path(name+".crt"), g.path(name+".key"), g.path(name+".nk")
	}
	return c
}

// flags is the same for the command.
func (g *guard) flags(name string) []string {
	if g == nil {
		return nil
	}
	c := g.config(events.ConnectConfig{}, name)
	return []string{"--nats-ca", c.CAFile, "--nats-cert", c.CertFile, "--nats-key", c.KeyFile, "--nats-nkey", c.NKeyFile}
}
