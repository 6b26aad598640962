package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/quash-auth/quash/issuer"
)

// issuerRole is an issuer with its own NATS connection. It serves from the start:
// until NATS answers, everything but /livez is 503.
type issuerRole struct {
	cfg      issuer.Config
	users    []bootstrapUser
	log      *slog.Logger
	conn     *nats.Conn
	draining draining
	handler  http.Handler
	opened   atomic.Pointer[issuer.Issuer]
}

// bootstrapUser is created if nobody has the name yet.
type bootstrapUser struct {
	credential
	scopes []string
	reset  bool // an existing one gets this password; otherwise it is left alone
}

// newIssuerRole takes ownership of conn: close closes it.
func newIssuerRole(conn *nats.Conn, cfg issuer.Config, users []bootstrapUser, log *slog.Logger) (*issuerRole, error) {
	cfg.Conn = conn
	cfg.Logger = log
	cfg.Version = buildVersion()
	r := &issuerRole{cfg: cfg, users: users, log: log, conn: conn}

	reg := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{newIssuerCollector(r.opened.Load), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := reg.Register(c); err != nil {
			conn.Close()
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", live)
	mux.Handle("GET /readyz", r.draining.wrap(http.HandlerFunc(r.serve)))
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("/", r.serve)
	r.handler = mux
	return r, nil
}

func (r *issuerRole) serve(w http.ResponseWriter, req *http.Request) {
	if i := r.opened.Load(); i != nil {
		i.Handler().ServeHTTP(w, req)
		return
	}
	w.Header().Set("Retry-After", "1")
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, "the issuer has not reached NATS yet", http.StatusServiceUnavailable)
}

// open reaches NATS once, and creates the first users.
func (r *issuerRole) open(ctx context.Context) error {
	i, err := issuer.New(ctx, r.cfg)
	if err != nil {
		return err
	}
	for _, u := range r.users {
		if err := r.ensureUser(ctx, i, u); err != nil {
			return fmt.Errorf("creating the user %s: %w", u.name, err)
		}
	}
	r.opened.Store(i)
	return nil
}

// run opens the issuer if that was not done, trying until NATS answers, and runs
// it.
func (r *issuerRole) run(ctx context.Context) error {
	defer r.close()
	for r.opened.Load() == nil {
		err := r.open(ctx)
		if err == nil {
			r.log.Info("the issuer is open", "issuer", r.cfg.Issuer)
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		if permanent(err) {
			return err
		}
		r.log.Warn("the issuer can not open yet, trying again", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
	return r.opened.Load().Run(ctx)
}

func (r *issuerRole) ensureUser(ctx context.Context, i *issuer.Issuer, u bootstrapUser) error {
	existing, err := i.Users().ByName(ctx, u.name)
	switch {
	case errors.Is(err, issuer.ErrNoUser):
		if _, err = i.CreateUser(ctx, u.name, u.password, u.scopes...); errors.Is(err, issuer.ErrUserExists) {
			return nil // another replica was faster
		}
		return err
	case err == nil && u.reset:
		return i.SetPassword(ctx, existing.Sub, u.password, issuer.Cause{By: "system", Reason: "new password on the command line"})
	}
	return err
}

// permanent errors are mistakes that waiting does not mend.
func permanent(err error) bool {
	return errors.Is(err, issuer.ErrConfig) || errors.Is(err, issuer.ErrKey) || errors.Is(err, issuer.ErrUser)
}

// ready says why the issuer would answer 503, or nil.
func (r *issuerRole) ready() error {
	if i := r.opened.Load(); i != nil {
		return i.Ready()
	}
	return errors.New("the issuer has not reached NATS yet")
}

// close is for after run has returned, or if it never ran. It may be called again.
func (r *issuerRole) close() { r.conn.Close() }
