package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oklog/run"

	"github.com/quash-auth/quash/verifier"
)

const (
	defaultAudience = "api"
	demoClientID    = "quash" // the issuer's default public client
	mostEntries     = 1_000_000_000
)

// apiCmd is "quash api".
type apiCmd struct {
	Listen        string        `default:"127.0.0.1:8081" placeholder:"HOST:PORT" help:"Address to serve on (${default})."`
	Issuer        string        `default:"${default_iss}" placeholder:"URL" help:"iss of the tokens to accept (${default})."`
	Audience      []string      `default:"api" placeholder:"NAME" help:"aud that a token must name, one of them (${default})."`
	JWKS          *string       `name:"jwks" placeholder:"URL|FILE" help:"JWK Set of the issuer (default: its URL plus /.well-known/jwks.json)."`
	Alg           []string      `name:"alg" default:"ES256,RS256,EdDSA" placeholder:"NAME" help:"Signature algorithms to accept (${default})."`
	Profile       string        `default:"strict" enum:"strict,relaxed" help:"strict: RFC 9068 access tokens. relaxed: what other identity providers issue. ${enum} (${default})."`
	AllowUndated  bool          `help:"With the relaxed profile: accept tokens without iat. The issuer must then never issue one that lives longer than --max-token-life."`
	MaxStaleness  time.Duration `default:"30s" help:"How old this node's view of the revocations may be, at least 2s (${default})."`
	OnStale       string        `default:"deny" enum:"deny,allow" help:"What to do beyond that: deny answers 503, allow serves on without knowing. ${enum} (${default})."`
	OnUndecodable string        `default:"not-ready" enum:"not-ready,stay-ready" help:"What a revocation that this version can not read means for readiness. ${enum} (${default})."`
	Leeway        time.Duration `default:"30s" help:"How far the clocks of the issuer and this node may be apart: an expired token is accepted for so much longer (${default})."`
	MaxTokenLife  time.Duration `default:"1h" help:"Longest life of a token to accept; at most what the stream was made for (${default})."`
	MaxEntries    *int          `placeholder:"N" help:"Most revocations to hold, beyond it the node is not ready (default: 10,000,000)."`
	Snapshot      string        `placeholder:"FILE" help:"Keep what is revoked in this file, so that a restarted node reads only what is new, and can serve while NATS is away, while the file is complete up to less than --max-staleness ago. One file per node, in a directory where it may make files, readable and writable by it alone."`
	LedgerWait    time.Duration `default:"0s" help:"How long a starting node waits at most while an issuer with a ledger has not given a stream back what it lost. 0: four times --max-staleness and at least 30s, if there is one. Above 0: the node waits so long for an issuer even if none is connected; negative: nothing is waited for."`
	Scope         []string      `placeholder:"NAME" help:"Scope that a token must have, every one of them, or it is refused with 403 (default: none)."`
	Resource      string        `name:"resource-metadata" placeholder:"URL" help:"Where this API's metadata of RFC 9728 are, named to whoever calls without a token (default: not named)."`
	Cookie        string        `placeholder:"NAME" help:"Name of a cookie that may carry the token in place of the Authorization header (default: no cookie)."`
	CookieOrigin  []string      `placeholder:"URL" help:"Origin of pages that may change something by cookie, beside this API's own."`
	Node          string        `placeholder:"NAME" help:"Name in quash status (default: host name and process number)."`
	Drain         time.Duration `default:"0s" help:"How long to answer 'not ready' before stopping (${default})."`

	InsecureHTTPJWKS bool `name:"insecure-http-jwks" help:"Allow an http:// key set from another machine: whoever can change it on the way can forge tokens."`

	renewFlags `embed:""`
	natsFlags  `embed:""`
	logFlags   `embed:""`
}

func (c *apiCmd) config() (verifier.Config, error) {
	if c.Issuer == "" {
		return verifier.Config{}, usagef("--issuer", "is empty: name the iss of the tokens to accept")
	}
	if err := checkStaleness(c.MaxStaleness); err != nil {
		return verifier.Config{}, err
	}
	if err := checkDrain(c.Drain); err != nil {
		return verifier.Config{}, err
	}
	if c.MaxEntries != nil && (*c.MaxEntries < 1 || *c.MaxEntries > mostEntries) {
		return verifier.Config{}, usagef("--max-entries", "%d is not from 1 to %d", *c.MaxEntries, mostEntries)
	}
	if c.JWKS != nil && *c.JWKS == "" {
		return verifier.Config{}, usagef("--jwks", "is empty: name a URL or a file, or leave the flag out")
	}
	if len(c.Audience) == 0 || slices.Contains(c.Audience, "") {
		return verifier.Config{}, usagef("--audience", "is empty: without it tokens for any other API would be accepted")
	}
	if err := checkAlgorithms(c.Alg); err != nil {
		return verifier.Config{}, err
	}
	if c.MaxTokenLife <= 0 {
		return verifier.Config{}, usagef("--max-token-life", "%v is not a positive duration", c.MaxTokenLife)
	}
	if c.Leeway < 0 || c.Leeway >= c.MaxTokenLife {
		return verifier.Config{}, usagef("--leeway", "%v is not from 0s to below --max-token-life %v", c.Leeway, c.MaxTokenLife)
	}
	issuer := verifier.Issuer{
		Issuer:     c.Issuer,
		Audience:   c.Audience,
		Algorithms: c.Alg,
		AllowHTTP:  c.InsecureHTTPJWKS,
	}
	switch {
	case c.JWKS == nil:
		issuer.JWKSURL = strings.TrimSuffix(c.Issuer, "/") + "/.well-known/jwks.json"
		if err := httpURL("--issuer", c.Issuer); err != nil {
			return verifier.Config{}, usagef("--jwks", "is needed, because --issuer %q is not a URL to find the key set under", c.Issuer)
		}
	case strings.Contains(*c.JWKS, "://"):
		issuer.JWKSURL = *c.JWKS
	default:
		issuer.JWKSFile = *c.JWKS
	}
	if c.Profile == "relaxed" {
		issuer.Profile = verifier.Relaxed
	}
	issuer.AllowUndated = c.AllowUndated
	cfg := verifier.Config{
		Issuers:      []verifier.Issuer{issuer},
		Node:         c.Node,
		MaxStaleness: c.MaxStaleness,
		MaxTokenLife: c.MaxTokenLife,
		Leeway:       c.Leeway,
		Snapshot:     c.Snapshot,
		LedgerWait:   c.LedgerWait,
		Reader:       c.NATSReader,
	}
	if c.Leeway == 0 {
		cfg.Leeway = -1 // none: the field's zero is the default
	}
	if c.MaxEntries != nil {
		cfg.MaxEntries = *c.MaxEntries
	}
	if c.OnUndecodable == "stay-ready" {
		cfg.OnUndecodable = verifier.StayReady
	}
	if c.OnStale == "allow" {
		cfg.OnStale = verifier.Allow
	}
	return cfg, nil
}

// protection is how the node's handler is protected.
func (c *apiCmd) protection() verifier.HTTPConfig {
	return verifier.HTTPConfig{Scope: c.Scope, ResourceMetadata: c.Resource, Cookie: c.Cookie, Origins: c.CookieOrigin}
}

// keySetAlgorithms are those whose keys a JWK Set can publish. HS256 and its like
// need a secret that every node knows: with it any node could make tokens.
var keySetAlgorithms = []string{"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"}

func checkAlgorithms(names []string) error {
	if len(names) == 0 {
		return usagef("--alg", "is empty: name some of %s", strings.Join(keySetAlgorithms, ", "))
	}
	for _, name := range names {
		if !slices.Contains(keySetAlgorithms, name) {
			return usagef("--alg", "%q is none of %s", name, strings.Join(keySetAlgorithms, ", "))
		}
	}
	return nil
}

func (c *apiCmd) Run(p *program) error {
	log := p.logger(c.LogLevel)
	cfg, err := c.config()
	if err != nil {
		return err
	}
	renewal, err := c.renewFlags.config(c.Issuer, log)
	if err != nil {
		return err
	}
	listener, err := bind("--listen", c.Listen)
	if err != nil {
		return err
	}
	conn, err := c.connect("quash-api", log)
	if err != nil {
		closeAll(listener)
		return err
	}
	node, err := newAPINode(conn, cfg, c.protection(), log)
	if err != nil {
		closeAll(listener)
		return &usageError{problem: inFlags(err)} // New only looks at the configuration
	}
	defer node.close()
	if err := node.renewWith(renewal); err != nil {
		closeAll(listener)
		return err
	}
	fmt.Fprintf(p.stdout, "api: http://%s/secure\n", reachable(listener.Addr().String()))

	var g run.Group
	addDrain(&g, c.Drain, &node.draining)
	addHTTP(&g, listener, node.handler, log)
	addRun(&g, node.run)
	addSignals(&g)
	return runGroup(&g)
}
