package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier"
	"github.com/quash-auth/quash/verifier/renew"
)

// apiNode is one demo API: a verifier with its own NATS connection, and the
// handlers of a service that uses it. "quash api" is one of them, "quash up" and
// "quash demo" run several.
type apiNode struct {
	conn     *nats.Conn
	verifier *verifier.Verifier
	draining draining
	handler  http.Handler
	renewer  *renew.Renewer // nil: off
	log      *slog.Logger
}

// newAPINode takes ownership of conn: close closes it. Nothing runs yet.
func newAPINode(conn *nats.Conn, cfg verifier.Config, web verifier.HTTPConfig, log *slog.Logger) (*apiNode, error) {
	cfg.NATS = conn
	cfg.Role = "api"
	cfg.Version = buildVersion()
	if cfg.Node != "" {
		log = log.With("node", cfg.Node) // quash up runs several
	}
	cfg.Logger = log
	if err := web.Validate(); err != nil {
		conn.Close()
		return nil, err
	}
	v, err := verifier.New(cfg)
	if err != nil {
		conn.Close()
		return nil, err
	}
	n := &apiNode{conn: conn, verifier: v, log: log}

	reg := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{newVerifierCollector(v), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := reg.Register(c); err != nil {
			conn.Close()
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	mux := http.NewServeMux()
	web.OnError = n.refused
	mux.Handle("/secure", v.Middleware(web)(n.renewing(http.HandlerFunc(echoClaims))))
	mux.Handle("POST /once", v.Middleware(verifier.HTTPConfig{OneTime: true, OnError: n.refused})(http.HandlerFunc(echoClaims)))
	mux.HandleFunc("GET /livez", live)
	mux.Handle("GET /readyz", n.draining.wrap(inPlainWords(v.ReadyHandler())))
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	n.handler = mux
	return n, nil
}

// run follows the stream until ctx ends, and closes the connection.
func (n *apiNode) run(ctx context.Context) error {
	defer n.close()
	ctx, cancel := context.WithCancel(ctx)
	watch := start(func(context.Context) error { n.warnUnenforceable(ctx); return nil })
	err := n.verifier.Run(ctx)
	cancel()
	return errors.Join(err, watch.stop())
}

// inPlainWords answers as h does, with flags in place of the fields of the
// library's configuration.
func inPlainWords(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := &held{header: w.Header(), status: http.StatusOK}
		h.ServeHTTP(a, r)
		w.Header().Del("Content-Length")
		w.WriteHeader(a.status)
		_, _ = w.Write([]byte(plain(a.body.String()))) // the prober is gone if this fails
	})
}

// held is an answer that is not sent yet.
type held struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (h *held) Header() http.Header            { return h.header }
func (h *held) WriteHeader(status int)         { h.status = status }
func (h *held) Write(text []byte) (int, error) { return h.body.Write(text) }

// refused logs why a request was not let in. The errors of the verifier never
// hold the token, and neither does the path.
func (n *apiNode) refused(r *http.Request, err error) {
	n.log.Debug("request refused", "reason", err, "method", r.Method, "path", r.URL.Path)
}

// warnUnenforceable says once for each issuer and scope that tokens are accepted
// which a revocation of that scope can not reach.
func (n *apiNode) warnUnenforceable(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	said := map[string]bool{}
	for {
		for _, i := range n.verifier.Status().Issuers {
			for _, scope := range i.Unenforceable {
				if key := scope.String() + " " + i.Issuer; !said[key] {
					said[key] = true
					n.log.Warn("tokens are accepted that can not be revoked by this scope, because they lack its claim: revoke by another one, or have the issuer add the claim",
						"scope", scope.String(), "claim", scopeClaims[scope], "issuer", i.Issuer)
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// scopeClaims is where tokens carry what a revocation of the scope names.
var scopeClaims = map[events.Scope]string{events.Token: "jti", events.Session: "sid", events.Subject: "sub", events.Client: "client_id", events.Key: "kid"}

// close is for after Run has returned, or if it never ran. It may be called again.
func (n *apiNode) close() {
	if n.renewer != nil {
		n.renewer.Close()
	}
	_ = n.verifier.Close() // releases memory only
	n.conn.Close()
}

// echoClaims answers with the claims of the verified token.
func echoClaims(w http.ResponseWriter, r *http.Request) {
	token, ok := verifier.FromContext(r.Context())
	if !ok {
		http.Error(w, "no token in the context", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(token.Claims(), '\n')) // the client is gone if this fails
}

func live(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"status": "alive"}) // as above
}
