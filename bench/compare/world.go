package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/rpc"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	bloomrpc "github.com/krakendio/bloomfilter/v2/rpc"
	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"

	"github.com/quash-auth/quash/events"
)

// world is everything that runs: the stores, a process for each contender, and the tokens.
type world struct {
	plan
	dir        string
	all        []*process
	redis      *process
	postgres   *process
	nats       *process
	issuer     *process
	oracle     *process
	issuerURL  string
	contenders []*contender
	tokens     []string // never revoked

	denier    *redis.Client
	database  *pgx.Conn
	dbURL     string
	publisher *events.Publisher
}

const bareIntrospection = "introspection, bare handler"

// contender is one way to protect the handler.
type contender struct {
	name   string
	node   *process
	stores []*process // what it asks, or follows
	revoke func(ctx context.Context, raw string) error

	fresh    []string // tokens to revoke, one after the other
	revoked  string   // one that was
	rates    []float64
	times    []time.Duration // of all requests
	cpu      time.Duration
	requests int
	acks     []time.Duration
	rejects  []time.Duration
	restart  []answer
}

func newWorld(ctx context.Context, p plan) (w *world, err error) {
	w = &world{plan: p}
	if w.dir, err = os.MkdirTemp("", "quash-compare-"); err != nil {
		return nil, err
	}
	if err := os.Chmod(w.dir, 0o711); err != nil { // PostgreSQL is somebody else
		return w, err
	}
	dirs := map[string]string{}
	for _, name := range []string{"redis", "postgres", "nats"} {
		dirs[name] = filepath.Join(w.dir, name)
		if err := os.Mkdir(dirs[name], 0o700); err != nil {
			return w, err
		}
	}
	keep := func(p *process) {
		if p != nil {
			w.all = append(w.all, p)
		}
	}
	var redisAddr, natsURL string
	w.redis, redisAddr, err = redisStore(dirs["redis"])
	if keep(w.redis); err != nil {
		return w, err
	}
	w.postgres, w.dbURL, err = postgresStore(ctx, dirs["postgres"])
	if keep(w.postgres); err != nil {
		return w, err
	}
	natsd, quash := filepath.Join(w.dir, "natsd"), filepath.Join(w.dir, "quash")
	if err := errors.Join(build(natsd, "./internal/natstest/natsd"), build(quash, "./cmd/quash")); err != nil {
		return w, err
	}
	w.nats, natsURL, err = natsStore(dirs["nats"], natsd)
	if keep(w.nats); err != nil {
		return w, err
	}
	if err := w.startIssuer(quash, natsURL); err != nil {
		return w, err
	}
	w.denier = redis.NewClient(&redis.Options{Addr: redisAddr})
	if w.database, err = pgx.Connect(ctx, w.dbURL); err != nil {
		return w, err
	}
	nc, err := nats.Connect(natsURL, nats.MaxReconnects(-1))
	if err != nil {
		return w, err
	}
	if w.publisher, err = events.NewPublisher(events.PublisherConfig{Conn: nc}); err != nil {
		return w, err
	}
	return w, w.startContenders(ctx, node{Issuer: w.issuerURL, JWKS: w.issuerURL + "/.well-known/jwks.json", Redis: redisAddr, Postgres: w.dbURL,
		NATS: natsURL, Secret: secret, Stale: p.stale})
}

// build makes a program of the main module.
func build(out, pkg string) error {
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/quash-auth/quash")
	root, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("find the module (run this in bench/): %w", err)
	}
	cmd = exec.Command("go", "build", "-o", out, pkg)
	cmd.Dir = strings.TrimSpace(string(root))
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", pkg, err, text)
	}
	return nil
}

func (w *world) startContenders(ctx context.Context, base node) (err error) {
	bare := base
	bare.Kind = "oracle"
	if w.oracle, err = w.startNode(bare); err != nil {
		return err
	}
	add := func(name string, stores []*process, revoke func(context.Context, string) error, change func(*node)) {
		if err != nil || w.only != "" && !slices.Contains(strings.Split(w.only, ","), name) {
			return
		}
		n := base
		change(&n)
		c := &contender{name: name, stores: stores, revoke: revoke}
		c.node, err = w.startNode(n)
		w.contenders = append(w.contenders, c)
	}
	kind := func(k string) func(*node) { return func(n *node) { n.Kind = k } }
	add("no auth", nil, nil, kind("none"))
	add("golang-jwt", nil, nil, kind("jwt"))
	add("+ Redis EXISTS, go-redis", []*process{w.redis}, w.denyRedis, kind("redis"))
	add("+ Redis EXISTS, rueidis", []*process{w.redis}, w.denyRedis, kind("rueidis"))
	add("+ rueidis client-side cache", []*process{w.redis}, w.denyRedis, kind("rueidis-cache"))
	add("+ PostgreSQL, pgx", []*process{w.postgres}, w.denyPostgres, kind("postgres"))
	add("+ Bloom filter, KrakenD's", nil, w.denyBloom, kind("bloom"))
	add("introspection, quash's issuer", []*process{w.issuer, w.nats}, w.publish, func(n *node) {
		n.Kind, n.Introspec = "introspect", w.issuerURL+"/introspect"
	})
	add(bareIntrospection, []*process{w.oracle}, w.denyOracle, func(n *node) {
		n.Kind, n.Introspec = "introspect", "http://"+w.oracle.address+"/introspect"
	})
	add("quash, new tokens", []*process{w.nats}, w.publish, func(n *node) { n.Kind, n.Memo = "quash", -1 })
	add("quash", []*process{w.nats}, w.publish, kind("quash"))
	if err != nil {
		return err
	}
	if w.tokens, err = w.mint(1000); err != nil {
		return err
	}
	for _, c := range w.contenders {
		if c.revoke == nil {
			continue
		}
		if c.fresh, err = w.mint(w.revocations + 1); err != nil {
			return err
		}
	}
	return nil
}

// startNode runs this program again, as one contender's process.
func (w *world) startNode(n node) (*process, error) {
	text, err := json.Marshal(n)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{name: "node " + n.Kind}
	var said io.Reader
	p.make = func() *exec.Cmd {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), nodeEnv+"="+string(text))
		var out io.ReadCloser
		p.stdin, _ = cmd.StdinPipe()
		out, _ = cmd.StdoutPipe()
		said, p.address = out, ""
		return cmd
	}
	p.ready = func() (err error) {
		if p.address == "" {
			p.address, err = firstLine(said)
		}
		return err
	}
	w.all = append(w.all, p)
	return p, p.start()
}

func (w *world) close() {
	for _, p := range slices.Backward(w.all) {
		p.kill()
	}
	_ = os.RemoveAll(w.dir)
}

func (w *world) denyRedis(ctx context.Context, raw string) error {
	return w.denier.Set(ctx, "denied:"+tokenID(raw), 1, 30*time.Minute).Err()
}

func (w *world) denyPostgres(ctx context.Context, raw string) error {
	_, err := w.database.Exec(ctx, "INSERT INTO denied VALUES ($1, now() + interval '30 minutes')", tokenID(raw))
	return err
}

func (w *world) publish(ctx context.Context, raw string) error {
	_, err := w.publisher.Publish(ctx, events.Revocation{Issuer: w.issuerURL, Scope: events.Token, Key: tokenID(raw), By: "admin"})
	return err
}

func (w *world) denyOracle(_ context.Context, raw string) error {
	res, err := http.PostForm("http://"+w.oracle.address+"/deny", url.Values{"token": {raw}})
	if err == nil {
		err = res.Body.Close()
	}
	return err
}

// denyBloom is what KrakenD's client does: an RPC to each gateway.
func (w *world) denyBloom(_ context.Context, raw string) error {
	i := slices.IndexFunc(w.contenders, func(c *contender) bool { return strings.Contains(c.name, "Bloom") })
	res, err := http.Get("http://" + w.contenders[i].node.address + "/rpc")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	addr, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	conn, err := net.Dial("tcp", string(addr))
	if err != nil {
		return err
	}
	c := rpc.NewClient(conn)
	defer c.Close()
	var out bloomrpc.AddOutput
	return c.Call("BloomfilterRPC.Add", bloomrpc.AddInput{Elems: [][]byte{[]byte("jti-" + tokenID(raw))}}, &out)
}
