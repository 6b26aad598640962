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
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/quash-auth/quash/issuer"
)

// adminFlags say which issuer to speak to and as whom.
type adminFlags struct {
	Issuer    string  `default:"${default_iss}" placeholder:"URL" help:"The issuer (${default})."`
	Admin     *string `placeholder:"NAME:PASSWORD" help:"Log in as this user, who needs the scope quash.admin. Other users of this machine can read a command line: prefer QUASH_ADMIN."`
	AsClient  *string `placeholder:"ID:SECRET" help:"Ask for a token as this client (client credentials). Prefer QUASH_AS_CLIENT."`
	TokenFile string  `placeholder:"FILE" help:"Use the access token in this file."`
	AllowHTTP bool    `name:"insecure-http-issuer" help:"Allow an http:// issuer URL that is not on this machine: the password then travels in clear unless something else protects it."`
}

// adminClient speaks to the issuer's endpoints for operators.
type adminClient struct {
	issuer string
	http   *http.Client
	token  string
	how    string // the flag that said as whom
	logout func(context.Context)
}

// adminError is what the issuer refused.
type adminError struct {
	status  int
	problem string // a whole sentence that says what to do
}

func (e *adminError) Error() string { return e.problem }

// advise adds what to do next to a refusal with this status.
func advise(err error, status int, next string) error {
	if e := (*adminError)(nil); errors.As(err, &e) && e.status == status {
		return fmt.Errorf("%w: %s", err, next)
	}
	return err
}

// auditFlags say why something is done. They are read from the command line only.
type auditFlags struct {
	Reason string `env:"-" help:"For the audit trail; the user never sees it."`
	Txn    string `env:"-" help:"Ties this to a case or a request, for the audit trail (default: random)."`
}

// into writes what was given into a request's body.
func (f *auditFlags) into(body map[string]any) {
	if f.Reason != "" {
		body["reason"] = f.Reason
	}
	if f.Txn != "" {
		body["txn"] = f.Txn
	}
}

// session is what a command does between login and logout; an interrupt ends it.
func (f *adminFlags) session(do func(ctx context.Context, a *adminClient) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	return do(ctx, a)
}

// open finds out who the caller is and logs in. Close logs out again.
func (f *adminFlags) open(ctx context.Context) (*adminClient, error) {
	if err := httpURL("--issuer", f.Issuer); err != nil {
		return nil, err
	}
	u, _ := url.Parse(f.Issuer) // checked
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) && !f.AllowHTTP {
		return nil, usagef("--issuer", "is http:// on another machine, and the password would travel in clear: use https://, or --insecure-http-issuer if something else protects it")
	}
	a := &adminClient{
		issuer: strings.TrimSuffix(f.Issuer, "/"),
		http: &http.Client{
			Timeout:       15 * time.Second,
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a token goes nowhere else
		},
		logout: func(context.Context) {},
	}
	var err error
	switch {
	case f.Admin != nil && f.AsClient != nil, f.Admin != nil && f.TokenFile != "", f.AsClient != nil && f.TokenFile != "":
		return nil, usagef("--admin", "--as-client and --token-file are three ways to say as whom to ask: give one (QUASH_ADMIN, QUASH_AS_CLIENT and QUASH_TOKEN_FILE count)")
	case f.Admin != nil:
		a.how, err = "--admin", a.login(ctx, *f.Admin)
	case f.AsClient != nil:
		a.how, err = "--as-client", a.clientCredentials(ctx, *f.AsClient)
	case f.TokenFile != "":
		a.how, err = "--token-file", a.readToken(f.TokenFile)
	default:
		return nil, usagef("--admin", "is missing: say as whom to ask, with --admin NAME:PASSWORD (or QUASH_ADMIN), --as-client ID:SECRET or --token-file FILE")
	}
	if err != nil {
		a.http.CloseIdleConnections()
		return nil, err
	}
	return a, nil
}

func (a *adminClient) login(ctx context.Context, text string) error {
	name, password, err := namePassword("--admin", text)
	if err != nil {
		return err
	}
	a.how = "--admin"
	var t tokens
	if err := a.do(ctx, http.MethodPost, "/login", nil, map[string]string{"username": name, "password": password}, &t); err != nil {
		return err
	}
	a.token = t.Access
	a.logout = func(ctx context.Context) { // it expires anyway, so an error does not matter
		if t.Refresh == "" {
			_ = a.do(ctx, http.MethodPost, "/logout", nil, nil, nil)
		} else { // works although the access token may be dead by now
			_ = a.form(ctx, "/revoke", url.Values{"token": {t.Refresh}}, nil, nil)
		}
	}
	return a.has()
}

func (a *adminClient) clientCredentials(ctx context.Context, text string) error {
	id, secret, err := namePassword("--as-client", text)
	if err != nil {
		return usagef("--as-client", "must be ID:SECRET, both not empty")
	}
	a.how = "--as-client"
	var t tokens
	if err := a.form(ctx, "/token", url.Values{"grant_type": {"client_credentials"}}, url.UserPassword(id, secret), &t); err != nil {
		return err
	}
	a.token = t.Access
	return a.has()
}

// form posts parameters, authenticated as a client if there is one.
func (a *adminClient) form(ctx context.Context, path string, form url.Values, client *url.Userinfo, out any) error {
	req, err := a.request(ctx, http.MethodPost, path, nil, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if client != nil {
		secret, _ := client.Password()
		req.SetBasicAuth(url.QueryEscape(client.Username()), url.QueryEscape(secret)) // RFC 6749 §2.3.1
	}
	return a.send(req, out)
}

func (a *adminClient) readToken(path string) error {
	const next = "put an operator's access token into it, or say as whom to ask with --admin or --as-client"
	file, err := os.Open(path)
	if err != nil {
		return usagef("--token-file", "%v: %s", err, next)
	}
	defer file.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(io.LimitReader(file, 64<<10))
	if err != nil {
		return usagef("--token-file", "%v: %s", err, next)
	}
	a.token = strings.TrimSpace(string(text))
	if a.token == "" || strings.ContainsAny(a.token, " \r\n\t") {
		return usagef("--token-file", "%s does not hold one access token: %s", path, next)
	}
	return nil
}

func (a *adminClient) has() error {
	if a.token == "" {
		return a.stranger()
	}
	return nil
}

// stranger is the error for an answer that no issuer of ours gives.
func (a *adminClient) stranger() error {
	return fmt.Errorf("%s does not answer like a quash issuer: is --issuer right, with its path?", a.issuer)
}

// close logs out.
func (a *adminClient) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	a.logout(ctx)
	a.http.CloseIdleConnections()
}

// do sends in as JSON (nil: no body) and reads the answer into out (nil: it does not matter). What the issuer refuses is an
// *adminError.
func (a *adminClient) do(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encoding the request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	req, err := a.request(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	return a.send(req, out)
}

func (a *adminClient) request(ctx context.Context, method, path string, query url.Values, body io.Reader) (*http.Request, error) {
	target := a.issuer + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("building a request to %s: %w", path, err)
	}
	req.Header.Set("User-Agent", "quash/"+buildVersion())
	return req, nil
}

const maxAdminAnswer = 8 << 20

func (a *adminClient) send(req *http.Request, out any) error {
	resp, err := a.http.Do(req)
	if err != nil {
		if cause := (*url.Error)(nil); errors.As(err, &cause) {
			err = cause.Err // the URL is said already
		}
		return fmt.Errorf("no answer from the issuer at %s: %w: is --issuer right, and does it run?", a.issuer, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAdminAnswer))
	if err != nil {
		return fmt.Errorf("reading the answer of %s: %w", req.URL.Path, err)
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated {
		return a.refused(resp, body)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return a.stranger()
	}
	return nil
}

// refused says in one sentence what the issuer's answer means here.
func (a *adminClient) refused(resp *http.Response, body []byte) error {
	var said struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(body, &said) != nil || said.Code == "" {
		if resp.StatusCode == http.StatusServiceUnavailable {
			said.Code = "temporarily_unavailable"
		} else if resp.StatusCode != http.StatusTooManyRequests {
			return a.stranger()
		}
	}
	said.Description = harmless(said.Description)
	again := "try again"
	if after := resp.Header.Get("Retry-After"); after != "" {
		again += " in " + harmless(after) + " s"
	}
	e := &adminError{status: resp.StatusCode, problem: said.Description}
	switch said.Code {
	case "invalid_credentials":
		e.problem = a.how + ": wrong name or password"
	case "access_denied":
		e.problem = a.how + ": " + said.Description
	case "invalid_client":
		e.problem = a.how + ": the issuer knows no such client with this secret"
		if a.how == "--admin" {
			e.problem = "the issuer's first client is confidential, so --admin cannot log in through it: use --as-client or --token-file"
		}
	case "unauthorized_client", "invalid_scope":
		e.problem = a.how + ": " + said.Description + ": the client needs the grant client_credentials and the scope " + issuer.ScopeAdmin
	case "invalid_token":
		e.problem = a.how + ": the access token is not valid any more (expired, or its session has ended): get a new one"
	case "insufficient_scope":
		e.problem = a.how + ": may not do this: " + said.Description
	case "temporarily_unavailable":
		e.problem = "the issuer cannot do this now: " + again
	}
	if resp.StatusCode == http.StatusTooManyRequests {
		e.problem = "too many attempts, nothing was done: " + again
	}
	if e.problem == "" {
		e.problem = fmt.Sprintf("the issuer answered %d %s", resp.StatusCode, harmless(said.Code))
	}
	return e
}
