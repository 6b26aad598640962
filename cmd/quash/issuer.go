package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oklog/run"

	"github.com/quash-auth/quash/issuer"
)

// issuerCmd is "quash issuer".
type issuerCmd struct {
	Listen          string        `default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Address to serve on (${default})."`
	Issuer          string        `placeholder:"URL" help:"iss of the tokens: the URL under which clients reach this issuer (default: http:// and the listen address)."`
	Audience        []string      `default:"api" placeholder:"NAME" help:"aud of the tokens (${default})."`
	KeysDir         string        `default:"quash-keys" placeholder:"DIR" help:"Directory of the signing keys, shared by all replicas; gets a first key if empty (${default})."`
	Ledger          string        `placeholder:"FILE" help:"Keep every living revocation in this file, and give back to the stream what it lost when it was wiped or restored. One file per replica."`
	KeyAlg          string        `default:"ES256" enum:"ES256,RS256,EdDSA" help:"Algorithm of new keys: ${enum} (${default})."`
	AccessLife      time.Duration `default:"10m" help:"Life of an access token (${default})."`
	RefreshIdle     time.Duration `default:"24h" help:"A session not refreshed for so long ends (${default})."`
	RefreshAbsolute time.Duration `default:"720h" help:"A session ends so long after its login (${default})."`
	ReuseGrace      time.Duration `default:"0s" help:"For so long a used refresh token gives the same successor again, for clients that lose answers (${default})."`
	EnsureStream    bool          `help:"Create the stream if it is missing (or do it once with quash stream ensure)."`
	Replicas        int           `default:"1" help:"Replicas of what the issuer stores: 1 for one NATS server, 3 for a cluster (${default})."`
	User            []string      `sep:"none" placeholder:"NAME:PASSWORD" help:"Create this user at the start if the name is free; may be repeated."`
	AdminUser       *string       `placeholder:"NAME:PASSWORD" help:"The same, with the scope quash.admin."`
	Node            string        `placeholder:"NAME" help:"Name in quash status (default: host name and process number)."`
	Drain           time.Duration `default:"0s" help:"How long to answer 'not ready' before stopping (${default})."`
	AllowHTTP       bool          `name:"insecure-http-issuer" help:"Allow an http:// issuer URL that is not on this machine: passwords and tokens then travel in clear unless something else protects them."`

	loginFlags   `embed:""`
	keysFlags    `embed:""`
	limitFlags   `embed:""`
	proxyFlags   `embed:""`
	clientsFlags `embed:""`
	cookieFlags  `embed:""`
	natsFlags    `embed:""`
	recordsFlags `embed:""`
	logFlags     `embed:""`
}

func (c *issuerCmd) users() ([]bootstrapUser, error) {
	var users []bootstrapUser
	for _, text := range c.User {
		name, password, err := namePassword("--user", text)
		if err != nil {
			return nil, err
		}
		users = append(users, bootstrapUser{credential: credential{name, password}})
	}
	if c.AdminUser != nil {
		name, password, err := namePassword("--admin-user", *c.AdminUser)
		if err != nil {
			return nil, err
		}
		users = append(users, bootstrapUser{credential: credential{name, password}, scopes: []string{issuer.ScopeAdmin}})
	}
	seen := map[string]bool{}
	for _, u := range users {
		if seen[u.name] {
			return nil, usagef("--user", "%s is given twice, maybe once by --admin-user: which password should it have?", printable(u.name))
		}
		seen[u.name] = true
	}
	return users, nil
}

// check refuses what the issuer would take for "use the default".
func (c *issuerCmd) check() error {
	for _, d := range []struct {
		flag  string
		value time.Duration
		least time.Duration
	}{
		{"--access-life", c.AccessLife, time.Second}, {"--refresh-idle", c.RefreshIdle, time.Second}, {"--refresh-absolute", c.RefreshAbsolute, time.Second},
		{"--reuse-grace", c.ReuseGrace, 0},
	} {
		if d.value < d.least {
			return usagef(d.flag, "%v is below %v", d.value, d.least)
		}
	}
	switch {
	case c.RefreshIdle < c.AccessLife:
		return usagef("--refresh-idle", "%v is shorter than --access-life %v", c.RefreshIdle, c.AccessLife)
	case c.RefreshAbsolute < c.RefreshIdle:
		return usagef("--refresh-absolute", "%v is shorter than --refresh-idle %v", c.RefreshAbsolute, c.RefreshIdle)
	case c.ReuseGrace > 30*time.Second:
		return usagef("--reuse-grace", "%v is above 30s: it helps thieves as well", c.ReuseGrace)
	case len(c.Audience) == 0 || slices.Contains(c.Audience, ""):
		return usagef("--audience", "is empty: name the API that the tokens are for")
	case c.KeysDir == "":
		return usagef("--keys-dir", "is empty: name a directory")
	}
	if err := errors.Join(c.loginFlags.check(), c.limitFlags.check(), c.proxyFlags.check(), c.keysFlags.check(), c.cookieFlags.check()); err != nil {
		return err
	}
	if err := checkReplicas(c.Replicas); err != nil {
		return err
	}
	return checkDrain(c.Drain)
}

func (c *issuerCmd) Run(p *program) error {
	log := p.logger(c.LogLevel)
	users, err := c.users()
	if err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	if c.Issuer != "" {
		if err := httpURL("--issuer", c.Issuer); err != nil {
			return err
		}
	}
	listener, err := bind("--listen", c.Listen)
	if err != nil {
		return err
	}
	if c.Issuer == "" {
		c.Issuer = "http://" + reachable(listener.Addr().String())
	}
	conn, err := c.natsFlags.connect("quash-issuer", log)
	if err != nil {
		closeAll(listener)
		return err
	}
	records, err := c.recordsFlags.connect(&c.natsFlags, log)
	if err != nil {
		closeAll(listener)
		conn.Close()
		return err
	}
	cfg := issuer.Config{
		Issuer:          c.Issuer,
		Records:         records,
		AllowHTTP:       c.AllowHTTP,
		Audience:        c.Audience,
		EnsureStream:    c.EnsureStream,
		Replicas:        c.Replicas,
		KeysDir:         c.KeysDir,
		Ledger:          c.Ledger,
		Algorithm:       c.KeyAlg,
		AccessLife:      c.AccessLife,
		RefreshIdle:     c.RefreshIdle,
		RefreshAbsolute: c.RefreshAbsolute,
		ReuseGrace:      c.ReuseGrace,
		Node:            c.Node,
		Reader:          c.NATSReader,
	}
	c.loginFlags.apply(&cfg)
	c.keysFlags.apply(&cfg)
	c.limitFlags.apply(&cfg)
	c.proxyFlags.apply(&cfg)
	c.clientsFlags.apply(&cfg)
	c.cookieFlags.apply(&cfg)
	role, err := newIssuerRole(conn, cfg, users, log)
	if err != nil {
		closeAll(listener)
		return err
	}
	role.nats, role.stderr = c.redacted(), p.stderr
	defer role.close()
	fmt.Fprintf(p.stdout, "issuer: http://%s for %s\n", reachable(listener.Addr().String()), c.Issuer)

	var g run.Group
	addDrain(&g, c.Drain, &role.draining)
	addHTTP(&g, listener, role.handler, log)
	addRun(&g, role.run)
	addSignals(&g)
	err = runGroup(&g)
	if errors.Is(err, issuer.ErrConfig) || errors.Is(err, issuer.ErrUser) {
		return &usageError{problem: inFlags(err)}
	}
	return err
}
