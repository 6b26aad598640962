package renew_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/leaks"
	"github.com/quash-auth/quash/verifier"
	"github.com/quash-auth/quash/verifier/renew"
	"github.com/quash-auth/quash/verifier/verifiertest"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// patience is a limit for a broken run: nothing that works waits for it, however slow the machine is.
const patience = 3 * time.Minute

// world is an API that renews, and the token endpoint of its issuer.
type world struct {
	*verifiertest.Issuer
	t       *testing.T
	renewer *renew.Renewer
	handler http.Handler

	mu        sync.Mutex // guards what follows
	exchanges int
	answer    func(http.ResponseWriter, *http.Request)
}

func newWorld(t *testing.T, change func(*renew.Config), opts ...verifiertest.Option) *world {
	t.Helper()
	w := &world{Issuer: verifiertest.New(t, opts...), t: t}
	w.answer = func(rw http.ResponseWriter, r *http.Request) { w.give(rw, w.Mint(verifiertest.Life(10*time.Minute))) }
	endpoint := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		id, secret, _ := r.BasicAuth()
		if id != "api" || secret != "s3cret" || r.Form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange" ||
			r.Form.Get("subject_token_type") != "urn:ietf:params:oauth:token-type:access_token" || r.Form.Get("subject_token") == "" {
			t.Errorf("the exchange is not RFC 8693 section 2.1: %v", r.Form)
		}
		w.mu.Lock()
		w.exchanges++
		answer := w.answer
		w.mu.Unlock()
		answer(rw, r)
	}))
	t.Cleanup(endpoint.Close)
	c := renew.Config{TokenURL: endpoint.URL, ClientID: "api", ClientSecret: "s3cret", Now: w.Now, Wait: patience, Timeout: patience}
	if change != nil {
		change(&c)
	}
	var err error
	if w.renewer, err = renew.New(w.Verifier(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.renewer.Close)
	w.handler = w.Verifier().Middleware(verifier.HTTPConfig{})(w.renewer.Middleware(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Cache-Control", "public, max-age=60")
		fmt.Fprint(rw, "42 orders")
	})))
	return w
}

func (w *world) give(rw http.ResponseWriter, access string) {
	_ = json.NewEncoder(rw).Encode(map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 600,
		"issued_token_type": "urn:ietf:params:oauth:token-type:access_token"})
}

func (w *world) setAnswer(f func(http.ResponseWriter, *http.Request)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = f
}

func (w *world) asked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.exchanges
}

// answered waits until the issuer owes nobody an answer.
func (w *world) answered() {
	for w.renewer.Asking() > 0 {
		<-time.After(time.Millisecond)
	}
}

func (w *world) get(token string, header ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest("GET", "/", nil)
	req.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, req)
	return rec
}

// served fails unless the handler's answer came through, with or without a new token.
func (w *world) served(what string, rec *httptest.ResponseRecorder, renewed bool) {
	w.t.Helper()
	token, cache := rec.Header().Get(renew.HeaderToken), rec.Header().Get("Cache-Control")
	if rec.Code != 200 || rec.Body.String() != "42 orders" || (token != "") != renewed {
		w.t.Errorf("%s: got %d %q and a new token: %v; want 200 and %v", what, rec.Code, rec.Body, token != "", renewed)
	}
	if renewed && (cache != "no-store" || !strings.Contains(strings.Join(rec.Header()["Vary"], ","), "Authorization") || rec.Header().Get(renew.HeaderExpires) == "") {
		w.t.Errorf("%s: headers %v, want no-store, Vary and the life", what, rec.Header())
	}
	if !renewed && cache != "public, max-age=60" {
		w.t.Errorf("%s: an answer without a token was altered: %q", what, cache)
	}
}

func old(w *world, claims ...verifiertest.Claim) string {
	return w.Mint(append([]verifiertest.Claim{verifiertest.Age(8 * time.Minute), verifiertest.Life(2 * time.Minute)}, claims...)...)
}

func TestRenewsLateInLife(t *testing.T) {
	w := newWorld(t, nil)
	token := w.Mint(verifiertest.Life(9 * time.Minute))
	w.served("young", w.get(token), false)
	w.Advance(6 * time.Minute)
	w.served("a third of its life left", w.get(token), false)
	w.Advance(time.Second)
	rec := w.get(token, "Origin", "https://app.example")
	w.served("less", rec, true)
	if expose := rec.Header().Get("Access-Control-Expose-Headers"); !strings.Contains(expose, renew.HeaderToken) {
		t.Errorf("got Access-Control-Expose-Headers %q, want the new headers in it", expose)
	}
	if got := rec.Header().Get(renew.HeaderExpires); got != "600" {
		t.Errorf("%s: got %s, want 600", renew.HeaderExpires, got)
	}
	w.served("the new one", w.get(rec.Header().Get(renew.HeaderToken)), false)
	if w.asked() != 1 {
		t.Errorf("%d exchanges, want 1", w.asked())
	}
}

func TestOneExchangeForAllRequests(t *testing.T) {
	w := newWorld(t, nil)
	token := old(w)
	var all sync.WaitGroup
	var mu sync.Mutex
	tokens := map[string]bool{}
	for range 50 {
		all.Go(func() {
			rec := w.get(token)
			w.served("at once", rec, true)
			mu.Lock()
			defer mu.Unlock()
			tokens[rec.Header().Get(renew.HeaderToken)] = true
		})
	}
	all.Wait()
	w.served("a client that ignores it", w.get(token), true)
	if w.asked() != 1 || len(tokens) != 1 {
		t.Errorf("%d exchanges and %d tokens, want 1 of each", w.asked(), len(tokens))
	}
}

func TestNeverRenewed(t *testing.T) {
	w := newWorld(t, nil)
	w.served("no session", w.get(old(w, verifiertest.Without("sid"))), false)
	w.served("expired, in the leeway", w.get(w.Mint(verifiertest.Age(10*time.Minute), verifiertest.Life(-time.Second))), false)
	w.served("an upgrade", w.get(old(w), "Upgrade", "websocket"), false)
	revoked := old(w, verifiertest.Subject("mallory"))
	w.Revoke(events.Revocation{Scope: events.Subject, Key: "mallory"})
	for what, token := range map[string]string{"revoked": revoked, "one-time": old(w, verifiertest.Once()), "expired": old(w, verifiertest.Life(-time.Hour), verifiertest.Age(2*time.Hour))} {
		if rec := w.get(token); rec.Code != 401 || rec.Header().Get(renew.HeaderToken) != "" {
			t.Errorf("%s: got %d with headers %v, want 401 without a token", what, rec.Code, rec.Header())
		}
	}
	once := w.Verifier().Middleware(verifier.HTTPConfig{OneTime: true})(w.renewer.Middleware(http.NotFoundHandler()))
	req := httptest.NewRequest("POST", "/", nil)
	req.Header.Set("Authorization", "Bearer "+old(w, verifiertest.Once()))
	rec := httptest.NewRecorder()
	once.ServeHTTP(rec, req)
	if rec.Code != 404 || rec.Header().Get(renew.HeaderToken) != "" {
		t.Errorf("a one-time token that was used: got %d, %v", rec.Code, rec.Header())
	}
	if w.asked() != 0 {
		t.Errorf("%d exchanges, want none", w.asked())
	}
}

// The token endpoint gets to see the tokens of its own issuer only.
func TestOtherIssuersTokensStayHere(t *testing.T) {
	other := func(c *verifier.Config) {
		second := c.Issuers[0]
		second.Issuer = "https://idp.example"
		c.Issuers = append(c.Issuers, second)
	}
	w := newWorld(t, func(c *renew.Config) { c.Issuer = verifiertest.IssuerURL }, verifiertest.WithConfig(other))
	w.served("another issuer's", w.get(old(w, verifiertest.With("iss", "https://idp.example"))), false)
	if w.asked() != 0 {
		t.Errorf("%d exchanges of a token of another issuer", w.asked())
	}
	w.served("our issuer's", w.get(old(w)), true)
	for _, issuer := range []string{"", "https://third.example"} {
		c := renew.Config{TokenURL: "https://issuer.example/token", ClientID: "a", ClientSecret: "b", Issuer: issuer}
		if _, err := renew.New(w.Verifier(), c); !errors.Is(err, verifier.ErrConfig) || !strings.Contains(err.Error(), "Issuer") {
			t.Errorf("Issuer %q of two: got %v, want ErrConfig that names it", issuer, err)
		}
	}
}

// A jti that an issuer gives to two users hands nobody the other one's token.
func TestSameNameOfTwoTokens(t *testing.T) {
	w := newWorld(t, nil)
	w.setAnswer(func(rw http.ResponseWriter, r *http.Request) {
		w.give(rw, w.Mint(verifiertest.Subject(subject(r.Form.Get("subject_token")))))
	})
	for _, who := range []string{"ann", "bob"} {
		rec := w.get(old(w, verifiertest.ID("1"), verifiertest.Subject(who)))
		w.served(who, rec, true)
		if got := subject(rec.Header().Get(renew.HeaderToken)); got != who {
			t.Errorf("%s got a token of %s", who, got)
		}
	}
}

func subject(token string) string {
	var claims struct {
		Sub string `json:"sub"`
	}
	payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(token+"..", ".")[1])
	_ = json.Unmarshal(payload, &claims)
	return claims.Sub
}

// Whatever the issuer does, the request is served.
func TestFailuresDoNotShow(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(*world) http.HandlerFunc
		again  int // exchanges after a second request
	}{
		"refused":              {status(400, `{"error":"invalid_grant"}`), 1},
		"unknown client":       {status(401, `{"error":"invalid_client"}`), 1},
		"unavailable":          {status(503, ``), 1},
		"redirect":             {status(307, ``), 1},
		"not JSON":             {status(200, `<html>`), 1},
		"no token":             {status(200, `{"token_type":"Bearer"}`), 1},
		"breaks headers":       {status(200, `{"access_token":"a\r\nb","token_type":"Bearer"}`), 1},
		"not ours":             {status(200, `{"access_token":"a.b.c","token_type":"Bearer"}`), 1},
		"another user's":       {mints(verifiertest.Subject("bob")), 1},
		"of another session":   {mints(verifiertest.Session("other")), 1},
		"a one-time token":     {mints(verifiertest.Once()), 1},
		"of a revoked session": {mints(verifiertest.Session("session-1"), verifiertest.Gen(0), verifiertest.Client("dead")), 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.Revoke(events.Revocation{Scope: events.Client, Key: "dead", Before: w.Now()})
			w.setAnswer(tt.answer(w))
			token := old(w)
			for range 2 {
				w.served(name, w.get(token), false)
			}
			if w.asked() != tt.again {
				t.Errorf("%d exchanges, want %d: no storm", w.asked(), tt.again)
			}
			if s := w.renewer.Stats(); s.Refused+s.Failed != 1 || s.Renewed != 0 {
				t.Errorf("stats %+v, want one failure", s)
			}
			w.setAnswer(func(rw http.ResponseWriter, _ *http.Request) { w.give(rw, w.Mint()) })
			w.Advance(6 * time.Second)
			w.served("after the pause", w.get(old(w)), true)
		})
	}
}

func status(code int, body string) func(*world) http.HandlerFunc {
	return func(*world) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Location", "/elsewhere")
			rw.WriteHeader(code)
			fmt.Fprint(rw, body)
		}
	}
}

func mints(claims ...verifiertest.Claim) func(*world) http.HandlerFunc {
	return func(w *world) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) { w.give(rw, w.Mint(claims...)) }
	}
}

// A slow issuer holds nobody up for longer than Wait; what it gave goes out with a later request.
func TestSlowIssuer(t *testing.T) {
	w := newWorld(t, func(c *renew.Config) { c.Wait = time.Millisecond })
	release := make(chan struct{})
	w.setAnswer(func(rw http.ResponseWriter, _ *http.Request) {
		<-release
		w.give(rw, w.Mint())
	})
	token := old(w)
	w.served("while the issuer thinks", w.get(token), false)
	w.served("still", w.get(token), false)
	close(release)
	w.answered()
	w.served("later", w.get(token), true)
	if s := w.renewer.Stats(); s.Late != 2 || w.asked() != 1 {
		t.Errorf("stats %+v and %d exchanges, want 2 late requests and 1 exchange", s, w.asked())
	}
}

func TestClose(t *testing.T) {
	w := newWorld(t, nil)
	w.renewer.Close()
	w.renewer.Close()
	w.served("after Close", w.get(old(w)), false)
	if w.asked() != 0 {
		t.Errorf("%d exchanges after Close", w.asked())
	}
}

func TestConfig(t *testing.T) {
	i := verifiertest.New(t)
	good := renew.Config{TokenURL: "https://issuer.example/token", ClientID: "a", ClientSecret: "b"}
	for field, change := range map[string]func(*renew.Config){
		"TokenURL":     func(c *renew.Config) { c.TokenURL = "http://issuer.example/token" },
		"ClientID":     func(c *renew.Config) { c.ClientID = "" },
		"ClientSecret": func(c *renew.Config) { c.ClientSecret = "" },
		"Early":        func(c *renew.Config) { c.Early = -1 },
		"Wait":         func(c *renew.Config) { c.Wait = -1 },
		"Timeout":      func(c *renew.Config) { c.Timeout = -1 },
	} {
		c := good
		change(&c)
		if _, err := renew.New(i.Verifier(), c); !errors.Is(err, verifier.ErrConfig) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: got %v, want ErrConfig that names it", field, err)
		}
	}
	if _, err := renew.New(nil, good); !errors.Is(err, verifier.ErrConfig) {
		t.Errorf("no verifier: got %v", err)
	}
	r, err := renew.New(i.Verifier(), good)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
}
