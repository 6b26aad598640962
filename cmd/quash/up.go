package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/oklog/run"

	"github.com/quash-auth/quash/issuer"
	"github.com/quash-auth/quash/verifier"
)

// upCmd is "quash up".
type upCmd struct {
	DataDir      string        `default:"quash-data" placeholder:"DIR" help:"Where everything is kept; made if missing (${default})."`
	Listen       string        `default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Address of the issuer (${default})."`
	APIListen    []string      `name:"api-listen" default:"127.0.0.1:8081,127.0.0.1:8082" placeholder:"HOST:PORT" help:"Addresses of the demo API nodes, one node each (${default})."`
	NATSListen   string        `name:"nats-listen" default:"127.0.0.1:4222" placeholder:"HOST:PORT" help:"Address of the embedded NATS server, so that other processes can join; it asks nobody for a password (${default})."`
	DemoUser     *string       `placeholder:"NAME:PASSWORD" help:"First user (default: demo with a random password, kept in the data directory)."`
	MaxStaleness time.Duration `default:"30s" help:"How old a node's view of the revocations may be, at least 2s (${default})."`

	loginFlags   `embed:""`
	limitFlags   `embed:""`
	proxyFlags   `embed:""`
	clientsFlags `embed:""`
	cookieFlags  `embed:""`
	LogLevel     string `default:"warn" enum:"debug,info,warn,error" help:"What to log on standard error: ${enum} (${default})."`
}

// stack is everything quash up runs.
type stack struct {
	data      *dataDir
	listeners []net.Listener // of the issuer, then of the nodes
	nats      *embedded
	issuer    *issuerRole
	nodes     []*apiNode
	creds     credentials
}

func (c *upCmd) Run(p *program) error {
	began := time.Now()
	log := p.logger(c.LogLevel)
	s, err := c.build(log, p.stderr)
	if err != nil {
		return err
	}
	defer s.close()

	var g run.Group
	drained := []*draining{&s.issuer.draining}
	for _, n := range s.nodes {
		drained = append(drained, &n.draining)
	}
	addDrain(&g, 0, drained...)
	for i, n := range s.nodes {
		addHTTP(&g, s.listeners[i+1], n.handler, log)
	}
	addHTTP(&g, s.listeners[0], s.issuer.handler, log)
	for _, n := range s.nodes {
		addRun(&g, n.run)
	}
	addRun(&g, s.issuer.run)
	addRun(&g, func(ctx context.Context) error { return s.announce(ctx, p, c, began) })
	addRun(&g, s.nats.run)
	addSignals(&g)
	if err := runGroup(&g); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "stopped; everything is kept in %s\n", s.data.path)
	return err
}

// build binds, opens and starts what must stand before the actors run. On an
// error everything is closed again.
func (c *upCmd) build(log *slog.Logger, stderr io.Writer) (_ *stack, err error) {
	var user *credential
	if c.DemoUser != nil {
		name, password, err := namePassword("--demo-user", *c.DemoUser)
		if err != nil {
			return nil, err
		}
		user = &credential{name, password}
	}
	if err := errors.Join(checkStaleness(c.MaxStaleness), c.loginFlags.check(), c.limitFlags.check(), c.proxyFlags.check(), c.cookieFlags.check()); err != nil {
		return nil, err
	}
	s := &stack{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.data, err = openDataDir(c.DataDir); err != nil {
		return nil, err
	}
	if err = c.bindAll(s); err != nil {
		return nil, err
	}
	if s.nats, err = startNATS("--nats-listen", c.NATSListen, s.data.join("nats"), log); err != nil {
		return nil, err
	}
	if s.creds, err = loadCredentials(s.data.join("demo-credentials"), user); err != nil {
		return nil, err
	}
	if err = s.openIssuer(c, log, stderr); err != nil {
		return nil, err
	}
	if s.creds.fresh {
		if err = s.creds.save(s.data.join("demo-credentials")); err != nil {
			return nil, err
		}
	}
	for i := range c.APIListen {
		conn, err := s.flags().connect(fmt.Sprintf("quash-api-%d", i+1), log)
		if err != nil {
			return nil, err
		}
		node, err := newAPINode(conn, localNodeConfig(s.issuerURL(), fmt.Sprintf("api-%d", i+1), c.MaxStaleness), c.cookieFlags.protection(), log)
		if err != nil {
			return nil, err
		}
		s.nodes = append(s.nodes, node)
	}
	return s, nil
}

// openIssuer opens the issuer against the embedded server and creates the stream
// and the users.
func (s *stack) openIssuer(c *upCmd, log *slog.Logger, stderr io.Writer) error {
	conn, err := s.flags().connect("quash-issuer", log)
	if err != nil {
		return err
	}
	cfg := issuer.Config{
		Issuer:       s.issuerURL(),
		AllowHTTP:    true, // only if the user asked for another interface than loopback
		Audience:     []string{defaultAudience},
		EnsureStream: true,
		KeysDir:      s.data.join("keys"),
		Ledger:       s.data.join("ledger"),
		Node:         "issuer",
	}
	c.loginFlags.apply(&cfg)
	c.limitFlags.apply(&cfg)
	c.proxyFlags.apply(&cfg)
	c.clientsFlags.apply(&cfg)
	c.cookieFlags.apply(&cfg)
	if cfg.ClientsFile != "" {
		cfg.Clients = []issuer.Client{{ID: demoClientID, Public: true}} // the guide's commands use it
	}
	s.issuer, err = newIssuerRole(conn, cfg, demoUsers(s.creds), log)
	if err != nil {
		return err
	}
	s.issuer.nats, s.issuer.stderr, s.issuer.keysTell = s.nats.url(), stderr, true
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err = s.issuer.open(ctx)
	if errors.Is(err, issuer.ErrConfig) {
		text := inFlags(err)
		for from, to := range upNames {
			text = strings.ReplaceAll(text, from, to)
		}
		return &usageError{problem: text}
	}
	return err
}

func demoUsers(c credentials) []bootstrapUser {
	return []bootstrapUser{
		{credential: c.user, reset: c.fresh},
		{credential: c.admin, scopes: []string{issuer.ScopeAdmin}, reset: c.fresh},
	}
}

// localNodeConfig is an API node beside its issuer.
func localNodeConfig(issuerURL, name string, maxStaleness time.Duration) verifier.Config {
	return verifier.Config{
		Issuers: []verifier.Issuer{{
			Issuer:    issuerURL,
			Audience:  []string{defaultAudience},
			JWKSURL:   issuerURL + "/.well-known/jwks.json",
			AllowHTTP: true,
		}},
		Node:         name,
		MaxStaleness: maxStaleness,
	}
}

// announce waits until everything is ready, says so, and then only waits.
func (s *stack) announce(ctx context.Context, p *program, c *upCmd, began time.Time) error {
	if err := s.waitReady(ctx, p, began); err != nil {
		<-ctx.Done()
		return nil
	}
	took := time.Since(began)
	g := guide{
		Took:        seconds(took),
		DataDir:     displayPath(s.data.path),
		NATS:        s.nats.url(),
		Issuer:      s.issuerURL(),
		Credentials: displayPath(s.data.join("demo-credentials")),
		User:        s.creds.user,
		Admin:       s.creds.admin,
		Quash:       selfCommand(p.args[0]),
		ClientID:    demoClientID,
	}
	for _, l := range s.listeners[1:] {
		g.Nodes = append(g.Nodes, "http://"+reachable(l.Addr().String()))
	}
	if g.NATS != defaultNATSURL {
		g.Flags = " --nats " + g.NATS
	}
	if g.Issuer != defaultIssuerURL {
		g.ISSFlag = " --iss " + g.Issuer
	}
	if !isLoopback(c.NATSListen) {
		fmt.Fprintf(p.stderr, "quash: warning: --nats-listen %s lets other machines publish without a password; see deploy/ for a NATS with roles\n", c.NATSListen)
	}
	if err := g.print(p.stdout); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// waitReady returns when all are ready, and complains once if that takes long.
func (s *stack) waitReady(ctx context.Context, p *program, began time.Time) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	complained := false
	for {
		err := s.ready()
		if err == nil {
			return nil
		}
		if !complained && time.Since(began) > 10*time.Second {
			complained = true
			fmt.Fprintf(p.stderr, "quash: not ready yet: %s\n", oneLine(err.Error()))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (s *stack) ready() error {
	errs := []error{s.issuer.ready()}
	for _, n := range s.nodes {
		errs = append(errs, n.verifier.Ready())
	}
	return errors.Join(errs...)
}

func (s *stack) issuerURL() string { return "http://" + reachable(s.listeners[0].Addr().String()) }

func (s *stack) flags() *natsFlags { return &natsFlags{NATS: s.nats.url()} }

// close releases what build opened, in reverse order. After a normal run most of
// it is closed already, which does no harm.
func (s *stack) close() {
	for _, n := range s.nodes {
		n.close()
	}
	if s.issuer != nil {
		s.issuer.close()
	}
	if s.nats != nil {
		s.nats.stop()
	}
	closeAll(s.listeners...)
	if s.data != nil {
		_ = s.data.Close() // the kernel would do it as well
	}
}

// displayPath is short if the path lies below the current directory.
func displayPath(path string) string {
	cwd, err := filepath.Abs(".")
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(cwd, path); err == nil && !strings.HasPrefix(rel, "..") {
		return rel
	}
	return path
}
