package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier"
)

// nodeConfig is what the driver tells a node, as JSON in its one argument.
type nodeConfig struct {
	Name      string
	Listen    string
	Control   string // where the driver moves its clock
	NATS      string
	Bus       events.ConnectConfig // how to prove who one is
	Key       []byte               // public key of the driver as an issuer
	Issuer    string               // of the quash issuers; empty: there are none
	JWKS      string               // their keys
	Allow     bool                 // OnStale
	Bound     time.Duration
	Snapshot  string
	StayReady bool // OnUndecodable
	Patient   bool // waits for issuers that give back what a stream has lost as long as the driver waits for anything
	Bug       bug
}

// Headers by which a node says what it knew just before and just after it judged
// a token. Everything in between is the library's own.
const (
	headerBefore = "Quash-Before"
	headerAfter  = "Quash-After"
)

// view is the value of those headers.
type view struct {
	Synced bool      `json:"s"`
	AsOf   time.Time `json:"a"`
	Now    time.Time `json:"n"` // by the machine's clock, whatever the node's says
}

// runNode is an API as a team would write it: a verifier, its middleware, its
// readiness probe.
func runNode(ctx context.Context, text string) error {
	var c nodeConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return fmt.Errorf("read the node's configuration: %w", err)
	}
	var wall clock
	c.Bus.URL, c.Bus.Name = c.NATS, "faults-"+c.Name
	conn, err := events.Connect(c.Bus)
	if err != nil {
		return err
	}
	defer conn.Close()
	v, wrap, err := c.build(conn, wall.now)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /readyz", v.ReadyHandler())
	mux.Handle("GET /secure", wrap(v.Middleware(verifier.HTTPConfig{})(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
	}))))
	front := &http.Server{Addr: c.Listen, Handler: mux, ReadHeaderTimeout: time.Minute}
	back := &http.Server{Addr: c.Control, Handler: controls(&wall, v), ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 4)
	go func() { ended <- front.ListenAndServe() }()
	go func() { ended <- back.ListenAndServe() }()
	go func() { ended <- v.Run(ctx) }()
	if extra := c.Bug.beside(conn, v); extra != nil {
		go func() { ended <- extra(ctx) }()
	}
	return <-ended // the process ends with it
}

// build makes the verifier, and what surrounds its middleware to show what it knew.
func (c nodeConfig) build(conn *nats.Conn, now func() time.Time) (*verifier.Verifier, func(http.Handler) http.Handler, error) {
	cfg := verifier.Config{
		NATS: conn, Node: c.Name, Role: "api", Version: "faults",
		MaxStaleness: c.Bound, MaxTokenLife: maxTokenLife, MemoBytes: 4 << 20, MaxEntries: 1_000_000,
		Snapshot: c.Snapshot, Now: now,
	}
	trust(&cfg, c.Key)
	if c.Issuer != "" {
		cfg.Issuers = append(cfg.Issuers, verifier.Issuer{Issuer: c.Issuer, Audience: []string{audience}, JWKSFile: c.JWKS})
	}
	if c.Allow {
		cfg.OnStale = verifier.Allow
	}
	if c.Patient {
		cfg.LedgerWait = 2 * slowPatience
	}
	if c.StayReady {
		cfg.OnUndecodable = verifier.StayReady
	}
	if err := c.Bug.into(&cfg); err != nil {
		return nil, nil, err
	}
	v, err := verifier.New(cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("configure the verifier: %w", err)
	}
	look := func() string {
		st := v.Status()
		text, err := json.Marshal(view{Synced: st.Synced, AsOf: st.AsOf, Now: time.Now()})
		if err != nil {
			return err.Error() // the driver will not be able to read it, and say so
		}
		return string(text)
	}
	return v, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(headerBefore, look())
			c.Bug.around(next, v).ServeHTTP(&lookingWriter{ResponseWriter: w, look: look}, r)
		})
	}, nil
}

// lookingWriter notes what is known when the verdict has been found.
type lookingWriter struct {
	http.ResponseWriter
	look func() string
}

func (w *lookingWriter) WriteHeader(status int) {
	w.Header().Set(headerAfter, w.look())
	w.ResponseWriter.WriteHeader(status)
}
