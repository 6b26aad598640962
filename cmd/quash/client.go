package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// client is the user's side of the demo: it speaks plain OAuth to the issuer and
// sends bearer tokens to the nodes.
type client struct {
	issuer string // base URL
	http   *http.Client
	waits  *waits // with the issuer's "not now"; nil: none
}

func newClient(issuer string, nodes int) *client {
	return &client{
		issuer: strings.TrimSuffix(issuer, "/"),
		http: &http.Client{
			Timeout: 15 * time.Second,
			Transport: &http.Transport{
				DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
				MaxIdleConnsPerHost: 8,
				MaxIdleConns:        8 * (nodes + 1),
			},
		},
	}
}

// tokens is what a login gives.
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

// answer is a response read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (c *client) login(ctx context.Context, name, password string) (tokens, error) {
	body, err := json.Marshal(map[string]string{"username": name, "password": password, "client_id": demoClientID})
	if err != nil {
		return tokens{}, fmt.Errorf("encoding the login: %w", err)
	}
	a, err := c.post(ctx, "/login", "application/json", body, "")
	if err != nil {
		return tokens{}, err
	}
	if a.status != http.StatusOK {
		return tokens{}, fmt.Errorf("login of %s answered %d: %s", name, a.status, a.text())
	}
	var t tokens
	if err := json.Unmarshal(a.body, &t); err != nil || t.Access == "" || t.Refresh == "" {
		return tokens{}, errors.New("login answered without tokens")
	}
	return t, nil
}

// refresh asks for new tokens and gives the whole answer: the status is the point.
func (c *client) refresh(ctx context.Context, token string) (answer, error) {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {demoClientID}}
	return c.post(ctx, "/token", "application/x-www-form-urlencoded", []byte(form.Encode()), "")
}

// revoke posts a statement to the issuer with an operator's access token.
func (c *client) revoke(ctx context.Context, access string, statement map[string]any) (answer, error) {
	body, err := json.Marshal(statement)
	if err != nil {
		return answer{}, fmt.Errorf("encoding the statement: %w", err)
	}
	return c.post(ctx, "/admin/revocations", "application/json", body, access)
}

func (c *client) post(ctx context.Context, path, contentType string, body []byte, bearer string) (answer, error) {
	return c.waits.ask(ctx, "POST "+path, func() (answer, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.issuer+path, bytes.NewReader(body))
		if err != nil {
			return answer{}, fmt.Errorf("building a request to %s: %w", path, err)
		}
		req.Header.Set("Content-Type", contentType)
		return c.do(req, bearer)
	})
}

// get calls any URL with a bearer token.
func (c *client) get(ctx context.Context, url, bearer string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return answer{}, fmt.Errorf("building a request to %s: %w", url, err)
	}
	return c.do(req, bearer)
}

func (c *client) do(req *http.Request, bearer string) (answer, error) {
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, err // names method and URL already, and holds no token
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	_ = resp.Body.Close() // read to its end or to our limit
	if err != nil {
		return answer{}, fmt.Errorf("reading the answer of %s: %w", req.URL.Path, err)
	}
	return answer{status: resp.StatusCode, header: resp.Header, body: body}, nil
}

// text is the start of the body on one line, for error messages.
func (a answer) text() string {
	s := strings.Join(strings.Fields(string(a.body)), " ")
	if len(s) > 500 {
		s = s[:500] + "…"
	}
	return s
}

func (c *client) close() { c.http.CloseIdleConnections() }
