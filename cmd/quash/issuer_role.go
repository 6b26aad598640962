package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/quash-auth/quash/events"
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
	why      atomic.Pointer[string] // why it is not open, after the first attempt
	nats     string                 // the servers, for people

	stderr   io.Writer // told loudly when the stream was lost; nil: only logged
	keysTell bool      // keys alone are a sign that there was a stream
	lost     bool      // it was told
}

// bootstrapUser is created if nobody has the name yet.
type bootstrapUser struct {
	credential
	scopes []string
	reset  bool // an existing one gets this password; otherwise it is left alone
}

// newIssuerRole takes ownership of conn and cfg.Records: close closes them.
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
	text := "the issuer is not open yet" // the world need not know why
	if req.URL.Path == "/readyz" {
		text = r.ready().Error()
	}
	http.Error(w, text, http.StatusServiceUnavailable)
}

// open reaches NATS once, and creates the first users.
func (r *issuerRole) open(ctx context.Context) error {
	err := r.tryOpen(ctx)
	if err != nil {
		if !r.conn.IsConnected() && !permanent(err) {
			err = fmt.Errorf("no NATS server at %s", r.nats)
		}
		err = storeHint(err)
		text := oneLine(err.Error())
		r.why.Store(&text)
	}
	return err
}

func (r *issuerRole) tryOpen(ctx context.Context) error {
	cfg := r.cfg
	if err := r.missStream(ctx); err != nil {
		cfg.EnsureStream = false // make none before that is known; a mistake in the rest is found all the same
	}
	i, err := issuer.New(ctx, cfg)
	if err != nil {
		return err
	}
	for _, u := range r.users {
		if err := r.ensureUser(ctx, i, u); err != nil {
			return errors.Join(fmt.Errorf("creating the user %s: %w", u.name, err), i.Close()) // the next attempt opens its files again
		}
	}
	r.opened.Store(i)
	return nil
}

// missStream says loudly that a stream which must have been there is gone, before
// a new one is made in its place. The service goes on: somebody must decide.
func (r *issuerRole) missStream(ctx context.Context) error {
	if !r.cfg.EnsureStream || r.lost {
		return nil
	}
	js, err := jetstream.New(r.conn)
	if err != nil {
		return fmt.Errorf("opening JetStream: %w", err)
	}
	there := func(name string) (bool, error) {
		_, err := js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return false, nil
		}
		return err == nil, err
	}
	if ok, err := there(events.StreamName); ok || err != nil {
		return err
	}
	before, err := there("KV_" + cmp.Or(r.cfg.Bucket, "QUASH") + "_ISSUER")
	if err != nil {
		return err
	}
	if keys, err := filepath.Glob(filepath.Join(r.cfg.KeysDir, "*.pem")); err == nil && r.keysTell && len(keys) > 0 {
		before = true
	}
	if !before {
		return nil // the first start
	}
	r.lost = true
	if _, err := os.Stat(r.cfg.Ledger); r.cfg.Ledger != "" && err == nil {
		r.log.Error("the stream of revocations was missing and is made anew; it gets back what the ledger holds", "stream", events.StreamName, "issuer", r.cfg.Issuer)
		if r.stderr != nil {
			fmt.Fprintf(r.stderr, "quash: WARNING: the stream %s was missing and is made anew; the ledger %s gives back what this issuer knew. If other issuers or publishers used the stream while this one was down: quash revoke issuer --iss %s --confirm %s --nats %s --reason 'stream lost' --wait 5s\n",
				events.StreamName, shellQuote(filepath.Base(r.cfg.Ledger)), shellQuote(r.cfg.Issuer), shellQuote(r.cfg.Issuer), shellQuote(r.nats))
		}
		return nil
	}
	r.log.Error("the stream of revocations was missing and is made anew: what was revoked and has not expired is accepted again", "stream", events.StreamName, "issuer", r.cfg.Issuer)
	if r.stderr != nil {
		fmt.Fprintf(r.stderr, "quash: WARNING: the stream %s was missing and is made anew: revoked tokens that have not expired are accepted again. To end them all: quash revoke issuer --iss %s --confirm %[2]s --nats %[3]s --reason 'stream lost' --wait 5s\n",
			events.StreamName, shellQuote(r.cfg.Issuer), shellQuote(r.nats))
	}
	return nil
}

// run opens the issuer if that was not done, trying until NATS answers, and runs
// it.
func (r *issuerRole) run(ctx context.Context) error {
	defer r.close()
	unhear, err := r.hear()
	if err != nil {
		return err
	}
	defer unhear()
	var said again
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
		if said.loud(err.Error(), time.Now()) {
			r.log.Warn("the issuer can not open yet, trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
	unhear() // it listens itself
	return r.opened.Load().Run(ctx)
}

// hear has somebody listen between the attempts to open, the first of which may have made the stream: a node that finds one, and nobody
// who listens, takes it for whole (ADR 24).
func (r *issuerRole) hear() (stop func(), err error) {
	if r.cfg.Ledger == "" {
		return func() {}, nil
	}
	return events.HearWhole(r.conn, func() events.Whole { return events.Whole{} })
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
	if why := r.why.Load(); why != nil {
		return errors.New("the issuer is not open yet: " + *why)
	}
	return errors.New("the issuer has not reached NATS yet")
}

// again says whether a text that may repeat is to be said: at once if it is new,
// else once a minute.
type again struct {
	text string
	at   time.Time
}

func (a *again) loud(text string, now time.Time) bool {
	if text == a.text && now.Sub(a.at) < time.Minute {
		return false
	}
	a.text, a.at = text, now
	return true
}

// close is for after run has returned, or if it never ran. It may be called again.
func (r *issuerRole) close() {
	if i := r.opened.Load(); i != nil {
		if err := i.Close(); err != nil {
			r.log.Error("closing the issuer", "error", err)
		}
	}
	r.conn.Close()
	if r.cfg.Records != nil {
		r.cfg.Records.Close()
	}
}
