package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/quash-auth/quash/issuer"
)

// webapp is an application of the shared issuer: a public client with its own API
// node. It does what docs/login.md tells applications to do.
//
//	GET /    with a session: calls the API, after a 401 refreshes once, says whom
//	         the API knows; without one, or when the session is over: to the login
//	GET /cb  takes the code
type webapp struct {
	w      *world
	client string
	node   int
	url    string

	mu      sync.Mutex        // guards what follows
	begun   map[string]string // verifier by state
	session map[string]session
}

func newWebapp(t testing.TB, client string) *webapp {
	a := &webapp{client: client, begun: map[string]string{}, session: map[string]session{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("GET /cb", a.callback)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}

// entry is the application's line in the registry file.
func (a *webapp) entry() string {
	return fmt.Sprintf(`{"client_id": %q, "client_name": %q, "public": true, "grant_types": ["authorization_code", "refresh_token"],
		"redirect_uris": [%q], "audience": %q}`, a.client, "The "+a.client, a.url+"/cb", a.client+"-api")
}

func (a *webapp) home(w http.ResponseWriter, r *http.Request) {
	s := a.current(r)
	if s.Access == "" {
		a.login(w, r)
		return
	}
	answer := a.w.call(a.node, s.Access)
	if answer.status == http.StatusUnauthorized {
		next := a.w.form("/token", "grant_type", "refresh_token", "refresh_token", s.Refresh, "client_id", a.client)
		if next.code() == "invalid_grant" {
			a.keep(r, session{})
			a.login(w, r)
			return
		}
		a.keep(r, next.session())
		answer = a.w.call(a.node, next.session().Access)
	}
	w.WriteHeader(answer.status)
	fmt.Fprintf(w, "%s knows %s", a.client, answer.text("sub"))
}

func (a *webapp) login(w http.ResponseWriter, r *http.Request) {
	verifier, state := issuer.NewSecret(), issuer.NewSecret()
	a.w.secret("code verifier", verifier)
	a.mu.Lock()
	a.begun[state] = verifier
	a.mu.Unlock()
	h := sha256.Sum256([]byte(verifier))
	http.Redirect(w, r, a.w.url+"/authorize?"+url.Values{"response_type": {"code"}, "client_id": {a.client}, "redirect_uri": {a.url + "/cb"},
		"state": {state}, "scope": {"openid"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(h[:])}, "code_challenge_method": {"S256"}}.Encode(), http.StatusFound)
}

func (a *webapp) callback(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	a.mu.Lock()
	verifier := a.begun[q.Get("state")]
	delete(a.begun, q.Get("state"))
	a.mu.Unlock()
	if verifier == "" || q.Get("iss") != a.w.url || q.Get("code") == "" {
		http.Error(w, "this login did not begin here: "+q.Get("error"), http.StatusForbidden)
		return
	}
	a.w.secret("code", q.Get("code"))
	answer := a.w.form("/token", "grant_type", "authorization_code", "code", q.Get("code"), "redirect_uri", a.url+"/cb",
		"client_id", a.client, "code_verifier", verifier)
	if answer.status != http.StatusOK {
		http.Error(w, answer.String(), http.StatusForbidden)
		return
	}
	a.w.secret("ID token", answer.text("id_token"))
	id := issuer.NewSecret()
	http.SetCookie(w, &http.Cookie{Name: a.client, Value: id, Path: "/", HttpOnly: true})
	a.mu.Lock()
	a.session[id] = answer.session()
	a.mu.Unlock()
	http.Redirect(w, r, a.url+"/", http.StatusFound)
}

func (a *webapp) current(r *http.Request) session {
	c, err := r.Cookie(a.client)
	if err != nil {
		return session{}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.session[c.Value]
}

func (a *webapp) keep(r *http.Request, s session) {
	if c, err := r.Cookie(a.client); err == nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.session[c.Value] = s
	}
}

// surfer is a person's browser.
type surfer struct {
	w      *world
	client *http.Client
}

func (w *world) surfer() *surfer {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return &surfer{w, &http.Client{Jar: jar, Timeout: patience, Transport: w.client.Transport}}
}

// sight is the page where a browser ends up.
type sight struct {
	status int
	url    *url.URL
	text   string
}

func (s *surfer) look(req *http.Request) sight {
	s.w.t.Helper()
	resp, err := s.client.Do(req)
	if err != nil {
		s.w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.w.t.Fatal(err)
	}
	return sight{resp.StatusCode, resp.Request.URL, string(text)}
}

func (s *surfer) visit(address string) sight {
	s.w.t.Helper()
	req, err := http.NewRequest("GET", address, nil)
	if err != nil {
		s.w.t.Fatal(err)
	}
	return s.look(req)
}

var formPattern = regexp.MustCompile(`(?s)<form method="post" action="([^"]*)">.*name="ticket" value="([^"]*)"`)

// asked reports whether it is the login page.
func (g sight) asked() bool { return g.status == 200 && formPattern.MatchString(g.text) }

// fill sends the login form of the page.
func (s *surfer) fill(g sight, name, password string) sight {
	s.w.t.Helper()
	form := formPattern.FindStringSubmatch(g.text)
	if form == nil {
		s.w.t.Fatalf("no login form at %s: %d %s", g.url.Path, g.status, g.text)
	}
	to := g.url.ResolveReference(&url.URL{Path: html.UnescapeString(form[1])})
	req, err := http.NewRequest("POST", to.String(), strings.NewReader(url.Values{"ticket": {form[2]}, "username": {name}, "password": {password}}.Encode()))
	if err != nil {
		s.w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", "http://"+g.url.Host)
	return s.look(req)
}

// sessions are all that are in use.
func (a *webapp) sessions() []session {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []session
	for _, s := range a.session {
		all = append(all, s)
	}
	return all
}

// claim of a token that the issuer has just made: nothing is verified.
func claim(token, name string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var all map[string]any
	_ = json.Unmarshal(text, &all) // then there is none
	value, _ := all[name].(string)
	return value
}
