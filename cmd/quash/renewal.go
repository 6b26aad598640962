package main

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/quash-auth/quash/verifier/renew"
)

// renewFlags make an API node hand out the next access token in a header.
type renewFlags struct {
	RenewClient *string       `placeholder:"ID:SECRET" help:"Renew access tokens through a response header, as this client of the issuer, for callers that can not refresh. Whoever holds a token can then keep its session alive: read docs/renew.md. Other users of this machine can read a command line: prefer QUASH_RENEW_CLIENT."`
	RenewURL    string        `name:"renew-url" placeholder:"URL" help:"Token endpoint to renew at (default: the issuer's URL plus /token)."`
	RenewEarly  time.Duration `default:"0s" help:"Renew a token that ends within so long; 0s is a third of its life (${default})."`
	RenewHTTP   bool          `name:"insecure-http-renew" help:"Allow an http:// --renew-url on another machine: the secret and the tokens then travel in clear."`
}

// config is nil if nothing is to be renewed.
func (f *renewFlags) config(issuer string, log *slog.Logger) (*renew.Config, error) {
	if f.RenewClient == nil {
		return nil, nil
	}
	id, secret, ok := strings.Cut(*f.RenewClient, ":")
	if !ok || id == "" || secret == "" {
		return nil, usagef("--renew-client", "must be ID:SECRET, both not empty") // never the text: it is a secret
	}
	if f.RenewEarly < 0 {
		return nil, usagef("--renew-early", "%v is negative", f.RenewEarly)
	}
	url := f.RenewURL
	if url == "" {
		url = strings.TrimSuffix(issuer, "/") + "/token"
	}
	if err := httpURL("--renew-url", url); err != nil {
		return nil, err
	}
	return &renew.Config{TokenURL: url, ClientID: id, ClientSecret: secret, Early: f.RenewEarly, AllowHTTP: f.RenewHTTP, Logger: log}, nil
}

// renewWith turns renewal on, before the node serves.
func (n *apiNode) renewWith(c *renew.Config) error {
	if c == nil {
		return nil
	}
	r, err := renew.New(n.verifier, *c)
	if err != nil {
		return usagef("--renew-url", "%q can not be used: it must be https, or http on this machine (or --insecure-http-renew)", c.TokenURL)
	}
	n.renewer = r
	return nil
}

// renewing is h, with renewal if that is on.
func (n *apiNode) renewing(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.renewer == nil {
			h.ServeHTTP(w, r)
			return
		}
		n.renewer.Middleware(h).ServeHTTP(w, r)
	})
}
