package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/ports"
)

// replica is one "quash issuer".
type replica struct {
	*process
	address string
	links   []*link
	client  *http.Client
}

const (
	personName     = "ada"
	personPassword = "correct horse battery staple"
)

// addIssuers starts n replicas that share their keys and each keep a ledger, and
// writes the keys to a file for the nodes.
func (w *world) addIssuers(ctx context.Context, n int) error {
	w.issuerURL, w.jwks, w.keys = "http://127.0.0.1:1/quash", filepath.Join(w.dir, "jwks.json"), filepath.Join(w.dir, "keys")
	for i := range n {
		links, url, err := w.bus()
		if err != nil {
			return err
		}
		address, err := ports.Address()
		if err != nil {
			return err
		}
		name := fmt.Sprintf("issuer-%d", i+1)
		r := &replica{address: address, links: links, client: &http.Client{Timeout: 30 * time.Second}}
		r.client.Transport = &http.Transport{}
		r.process = &process{name: name, args: append([]string{w.first().quash, "issuer", "--listen", address, "--issuer", w.issuerURL,
			"--nats", url, "--keys-dir", w.keys, "--ledger", filepath.Join(w.dir, name+".ledger"), "--node", name,
			"--replicas", fmt.Sprint(len(w.servers)), "--audience", audience, "--access-life", "1h", "--password-memory", "64", "--password-passes", "1",
			"--login-burst", "10000", "--address-burst", "10000", "--log-level", "error"}, w.guard.flags(name)...),
			env: []string{"QUASH_USER=" + personName + ":" + personPassword}}
		w.issuers = append(w.issuers, r)
		if err := r.start(); err != nil {
			return err
		}
		// The first makes the key that the others find.
		if err := poll(ctx, 50*time.Millisecond, func() error { return r.ready(ctx) }); err != nil {
			return fmt.Errorf("%w: %s", err, r.said.String())
		}
	}
	set, status, err := w.issuers[0].call(ctx, http.MethodGet, "/quash/.well-known/jwks.json", "", nil)
	if err != nil || status != http.StatusOK {
		return fmt.Errorf("read the issuer's keys: status %d: %w", status, err)
	}
	return os.WriteFile(w.jwks, set, 0o600)
}

func (r *replica) ready(ctx context.Context) error {
	if err := r.err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	text, status, err := r.call(ctx, http.MethodGet, "/readyz", "", nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s is not ready: %s", r.name, bytes.TrimSpace(text))
	}
	return err
}

func (r *replica) call(ctx context.Context, method, path, bearer string, body any) (text []byte, status int, err error) {
	var in bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&in).Encode(body); err != nil {
			return nil, 0, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+r.address+path, &in)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return text, resp.StatusCode, err
}

// people log in at one issuer, are seen by the nodes for a while, and log out at
// another, however often that takes.
func (w *world) people(ctx context.Context) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.visit(ctx)
	}
}

func (w *world) visit(ctx context.Context) {
	w.between.RLock()
	defer w.between.RUnlock()
	w.visits.Lock()
	defer w.visits.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 6*time.Second)
	defer cancel()
	first := rand.IntN(len(w.issuers))
	t, err := w.login(ctx, w.issuers[first])
	if err != nil {
		return
	}
	remove := w.ledger.addYoung(t)
	defer remove()
	pause(ctx, 300*time.Millisecond)
	t.asked.Store(time.Now().UnixNano())
	for n := first + 1; ctx.Err() == nil; n++ {
		switch w.issuers[n%len(w.issuers)].logout(ctx, t) {
		case http.StatusOK:
			w.ledger.ack(t)
			return
		case http.StatusUnauthorized:
			return // an earlier attempt was heard and its answer was lost: nothing was promised to us
		}
		pause(ctx, 200*time.Millisecond)
	}
}

// login gets a token for the person.
func (w *world) login(ctx context.Context, r *replica) (*token, error) {
	var in struct {
		Access string `json:"access_token"`
	}
	text, status, err := r.call(ctx, http.MethodPost, "/quash/login", "", map[string]string{"username": personName, "password": personPassword})
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("login: status %d", status)
	}
	if err == nil {
		err = json.Unmarshal(text, &in)
	}
	t := &token{raw: in.Access, young: true}
	t.about = events.Revocation{Issuer: w.issuerURL, Scope: events.Session, Key: "of a login"}
	return t, err
}

// logout returns the status; 0: there was no answer.
func (r *replica) logout(ctx context.Context, t *token) int {
	_, status, err := r.call(ctx, http.MethodPost, "/quash/logout", t.raw, nil)
	if err != nil {
		return 0
	}
	return status
}
