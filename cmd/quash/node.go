package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/quash-auth/quash/verifier"
)

// apiNode is one demo API: a verifier with its own NATS connection, and the
// handlers of a service that uses it. "quash api" is one of them, "quash up" and
// "quash demo" run several.
type apiNode struct {
	conn     *nats.Conn
	verifier *verifier.Verifier
	draining draining
	handler  http.Handler
}

// newAPINode takes ownership of conn: close closes it. Nothing runs yet.
func newAPINode(conn *nats.Conn, cfg verifier.Config, log *slog.Logger) (*apiNode, error) {
	cfg.NATS = conn
	cfg.Role = "api"
	cfg.Version = buildVersion()
	cfg.Logger = log
	v, err := verifier.New(cfg)
	if err != nil {
		conn.Close()
		return nil, err
	}
	n := &apiNode{conn: conn, verifier: v}

	reg := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{newVerifierCollector(v), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := reg.Register(c); err != nil {
			conn.Close()
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/secure", v.Middleware(verifier.HTTPConfig{})(http.HandlerFunc(echoClaims)))
	mux.HandleFunc("GET /livez", live)
	mux.Handle("GET /readyz", n.draining.wrap(v.ReadyHandler()))
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	n.handler = mux
	return n, nil
}

// run follows the stream until ctx ends, and closes the connection.
func (n *apiNode) run(ctx context.Context) error {
	defer n.close()
	return n.verifier.Run(ctx)
}

// close is for after Run has returned, or if it never ran. It may be called again.
func (n *apiNode) close() {
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
