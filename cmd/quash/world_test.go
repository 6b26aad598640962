package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/internal/ports"
)

// A world is quash as a team runs it, made of processes of the real binary on free
// ports of 127.0.0.1, for the tests of situations and of standards:
//
//	w := newWorld(t)                  // NATS, one issuer, one API node for the audience "api"
//	w := newWorld(t, withReplicas(3), withIssuer("--access-life", "5s"),
//		withNode("--audience", "shop"), withNode("--audience", "bank", "--max-staleness", "4s"))
//	w := newWorld(t, withUp(2))       // one "quash up" with two API nodes
//	w := newWorld(t, withUser("eve")) // beside ann and bob, who always exist (quash up has only ann)
//
//	s := w.login("ann")               // of the first replica; the test fails unless it is 200
//	s = w.on(1).refresh(s)            // of the second one
//	r := w.tryRefresh(s.Refresh)      // any answer
//	r := w.form("/token", "grant_type", "client_credentials", …)
//	r := w.json("POST", "/admin/revocations", w.admin(), `{"scope":"session","key":"…"}`)
//	r := w.call(0, s.Access)          // GET /secure of the first API node
//	w.wants(0, s.Access, 401)         // the same, until it answers so
//	w.statements()                    // what was ever published, oldest first
//	w.issuers[0].kill(), .start()     // a crash, and the same process again
//	w.quash("sessions", "list", …)    // a command of the binary, with --nats
//
// Everything secret that passes through these helpers is remembered (w.secret
// remembers more). When the test ends, every process is interrupted, must end
// cleanly and must have printed none of it, at log level debug; neither may any
// message that NATS stores hold it.
type world struct {
	face // of the first replica

	t       testing.TB
	nats    string // URL
	conn    *nats.Conn
	dir     string
	issuers []*part
	nodes   []*part
	client  *http.Client

	mu        sync.Mutex // guards what follows
	passwords map[string]string
	secrets   map[string]secret // by text
	bearer    string            // of admin
	parts     []*part
}

// face is one replica of the issuer, as its clients see it.
type face struct {
	w   *world
	url string // base URL
}

type worldConfig struct {
	up       int
	replicas int
	issuer   []string
	nodes    [][]string
	users    []string
	natsURL  string
	address  string
}

type worldOption func(*worldConfig)

// withUp runs everything as one "quash up" with so many API nodes, and more flags.
func withUp(nodes int, flags ...string) worldOption {
	return func(c *worldConfig) { c.up, c.issuer = nodes, append(c.issuer, flags...) }
}

// withReplicas runs so many issuers, instead of one, under one issuer URL (that of
// the first) and with one key directory.
func withReplicas(n int) worldOption { return func(c *worldConfig) { c.replicas = n } }

// withIssuer gives all replicas more flags.
func withIssuer(flags ...string) worldOption {
	return func(c *worldConfig) { c.issuer = append(c.issuer, flags...) }
}

// withNode adds an API node with these flags, in place of the one that there is
// without any withNode.
func withNode(flags ...string) worldOption {
	return func(c *worldConfig) { c.nodes = append(c.nodes, flags) }
}

// withUser adds users without scopes, with passwords of their own.
func withUser(names ...string) worldOption {
	return func(c *worldConfig) { c.users = append(c.users, names...) }
}

// withNATS uses the test's own server instead of a new one, for example one that
// can be killed.
func withNATS(url string) worldOption { return func(c *worldConfig) { c.natsURL = url } }

// withAddress makes the first replica listen there: for a proxy that must know it before.
func withAddress(a string) worldOption { return func(c *worldConfig) { c.address = a } }

const worldAdmin = "admin"

// cheap logins: what is tested here is not the hash. Flags of a test come later and win.
var cheap = []string{"--password-memory", "64", "--password-passes", "1", "--login-burst", "1000", "--own-burst", "10000"}

func newWorld(t testing.TB, options ...worldOption) *world {
	t.Helper()
	c := worldConfig{replicas: 1, users: []string{"ann", "bob"}}
	for _, o := range options {
		o(&c)
	}
	if c.up == 0 && c.natsURL == "" {
		c.natsURL = natstest.Start(t).URL()
	}
	w := &world{
		t: t, nats: c.natsURL, dir: t.TempDir(), passwords: map[string]string{}, secrets: map[string]secret{},
		client: &http.Client{
			Timeout:       patience,
			Transport:     &http.Transport{MaxIdleConnsPerHost: 32},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	w.face.w = w
	t.Cleanup(w.close)
	for _, name := range append(c.users, worldAdmin) {
		w.passwords[name] = randomPassword()
		w.secret("password of "+name, w.passwords[name])
	}
	if c.up > 0 {
		w.up(c)
	} else {
		w.apart(c)
	}
	w.face.url = w.issuers[0].url()
	for _, p := range append(slices.Clone(w.parts), w.nodes...) { // nodes of quash up are no parts of their own, and ready later than its issuer
		p.ready()
	}
	var err error
	if w.conn, err = events.Connect(events.ConnectConfig{URL: w.nats, Name: "world"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := waitConnected(ctx, w.conn, patience); err != nil {
		t.Fatal(err)
	}
	return w
}

// up starts one process with everything in it.
func (w *world) up(c worldConfig) {
	w.t.Helper()
	addresses := make([]string, c.up)
	for i := range addresses {
		addresses[i] = w.address()
	}
	issuer, broker := w.address(), w.address()
	w.nats = "nats://" + broker
	data := filepath.Join(w.dir, "data")
	// The operator's password is not for the command line; here the file is there
	// before its first start.
	if err := os.MkdirAll(data, 0o700); err != nil {
		w.t.Fatal(err)
	}
	users := credentials{user: credential{"ann", w.passwords["ann"]}, admin: credential{worldAdmin, w.passwords[worldAdmin]}}
	if err := users.save(filepath.Join(data, "demo-credentials")); err != nil {
		w.t.Fatal(err)
	}
	w.shown(w.passwords["ann"])
	w.shown(w.passwords[worldAdmin])
	p := w.start(issuer, slices.Concat([]string{"up", "--data-dir", data, "--listen", issuer, "--nats-listen", broker,
		"--api-listen", strings.Join(addresses, ","), "--log-level", "debug"}, cheap, c.issuer)...)
	w.issuers = []*part{p}
	for _, a := range addresses {
		w.nodes = append(w.nodes, &part{w: w, address: a, args: p.args, process: p.process})
	}
}

// apart starts each role as a process of its own.
func (w *world) apart(c worldConfig) {
	w.t.Helper()
	addresses := make([]string, c.replicas)
	for i := range addresses {
		addresses[i] = w.address()
	}
	if c.address != "" {
		addresses[0] = c.address
	}
	common := []string{"--nats", w.nats, "--log-level", "debug"}
	iss := "http://" + addresses[0]
	for i, a := range addresses {
		args := append([]string{"issuer", "--listen", a, "--issuer", iss, "--keys-dir", filepath.Join(w.dir, "keys"), "--ensure-stream",
			"--node", "issuer-" + string(rune('1'+i)), "--admin-user", worldAdmin + ":" + w.passwords[worldAdmin]}, common...)
		for name, password := range w.passwords {
			if name != worldAdmin {
				args = append(args, "--user", name+":"+password)
			}
		}
		p := w.start(a, slices.Concat(args, cheap, c.issuer)...)
		w.issuers = append(w.issuers, p)
		if i == 0 {
			p.ready() // it makes what the others find
		}
	}
	if len(c.nodes) == 0 {
		c.nodes = [][]string{nil}
	}
	for i, flags := range c.nodes {
		a := w.address()
		args := append([]string{"api", "--listen", a, "--issuer", iss, "--node", "api-" + string(rune('1'+i))}, common...)
		w.nodes = append(w.nodes, w.start(a, append(args, flags...)...))
	}
}

func (w *world) address() string {
	w.t.Helper()
	a, err := ports.Address()
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// on is the replica k, counted from 0.
func (w *world) on(k int) face { return face{w, w.issuers[k].url()} }

// eventually waits for what no event announces.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			w.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
