package issuer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	goroutines "github.com/quash-auth/quash/internal/leaks"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/issuer"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(crashChild); config != "" {
		if err := runCrashChild(config); err != nil {
			fmt.Fprintln(os.Stderr, "crash child:", err)
			os.Exit(1)
		}
		return
	}
	goroutines.Main(m)
}

const (
	iss      = "https://issuer.example/auth"
	password = "correct horse battery staple"
	deadline = 3 * time.Minute // for what will happen at once on a machine with nothing else to do

	// beaconInterval is above the default: a machine too busy to bring a beacon back in four of them makes the feed connect anew.
	beaconInterval = 3 * time.Second
)

// rig is an issuer behind real HTTP on a real NATS server.
type rig struct {
	*issuer.Issuer
	t    testing.TB
	cfg  issuer.Config
	url  string
	nats string
	stop func()
}

func start(t testing.TB, natsURL string, change ...func(*issuer.Config)) *rig {
	t.Helper()
	cfg := issuer.Config{
		Issuer: iss, Audience: []string{"https://api.example"}, KeysDir: filepath.Join(t.TempDir(), "keys"), EnsureStream: true,
		Argon2: issuer.Argon2{Memory: 64, Time: 1}, BeaconInterval: beaconInterval, RepairInterval: 100 * time.Millisecond,
		Node: "test", Timeout: deadline / 2, OwnBurst: 1 << 20,
	}
	for _, f := range change {
		f(&cfg)
	}
	return startWith(t, natsURL, cfg)
}

// startWith starts a replica, or the same one again.
func startWith(t testing.TB, natsURL string, cfg issuer.Config) *rig {
	t.Helper()
	nc, err := events.Connect(events.ConnectConfig{URL: natsURL, Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	natstest.Connected(t, nc)
	cfg.Conn = nc
	log, logged := &logs{}, cfg
	logged.Logger = log.alsoTo(cfg.Logger)
	var i *issuer.Issuer
	until(t, "the issuer can start", func() bool { // a busy server may have no answer, or be clearing a stream of before
		i, err = issuer.New(t.Context(), logged)
		return !errors.Is(err, issuer.ErrUnavailable) && !errors.Is(err, events.ErrUnavailable)
	})
	if err != nil {
		nc.Close()
		t.Fatal(err)
	}
	run, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- i.Run(run) }()
	web := httptest.NewServer(watched(i.Handler()))
	r := &rig{Issuer: i, t: t, cfg: cfg, url: web.URL + "/auth", nats: natsURL}
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			web.Close()
			end()
			if err := <-done; err != nil {
				t.Errorf("Run: got %v, want nil", err)
			}
			nc.Close()
			for _, kind := range leaks(log.String()) {
				t.Errorf("the log holds a secret: %s", kind)
			}
		})
	}
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", cfg.Node, log.troubles())
		}
	})
	r.ready()
	return r
}

func (r *rig) ready() {
	r.t.Helper()
	until(r.t, "the issuer is ready", func() bool { return r.Ready() == nil })
}

// jumped waits until the issuer has lived through a jump of its clock: the feed, which has heard nothing for as long as the jump
// by that clock, may connect anew. Whatever is stored and applied after the jump proves that it will not any more.
func (r *rig) jumped() {
	r.t.Helper()
	nc, err := nats.Connect(r.nats, nats.Timeout(deadline))
	if err != nil {
		r.t.Fatal(err)
	}
	defer nc.Close()
	beacon := nats.NewMsg(events.SubjectBeacon)
	beacon.Header.Set("Nats-TTL", "60s")
	answer, err := nc.RequestMsg(beacon, deadline)
	if err != nil {
		r.t.Fatal(err)
	}
	var stored struct {
		Seq uint64 `json:"seq"`
	}
	if err := json.Unmarshal(answer.Data, &stored); err != nil || stored.Seq == 0 {
		r.t.Fatalf("publish a beacon: got %s %v", answer.Data, err)
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), deadline)
	defer cancel()
	if err := issuer.WaitApplied(ctx, r.Issuer, stored.Seq); err != nil {
		r.t.Fatal(err)
	}
	r.ready()
}

// advance moves the issuer's clock.
func (r *rig) advance(c *clock, d time.Duration) {
	r.t.Helper()
	c.advance(d)
	r.jumped()
}

// set moves the issuer's stopped clock.
func (r *rig) set(c *stopped, at time.Time) {
	r.t.Helper()
	c.set(at)
	r.jumped()
}

// within is a context for what is asked once: without a deadline what waits for an answer of the server gives up after seconds. What is
// asked again does better without one: an answer that was lost with a connection never comes.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	return ctx
}

// until polls a condition that no event announces.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(deadline); !f(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", deadline, what)
		}
	}
}

func (r *rig) user(name string, scopes ...string) issuer.User {
	r.t.Helper()
	u, err := r.CreateUser(within(r.t), name, password, scopes...)
	if err != nil {
		r.t.Fatal(err)
	}
	return u
}

// answer is any answer of the issuer.
type answer struct {
	status       int
	header       http.Header
	Access       string `json:"access_token"`
	Type         string `json:"token_type"`
	Refresh      string `json:"refresh_token"`
	Sid          string `json:"sid"`
	Scope        string `json:"scope"`
	ExpiresIn    int64  `json:"expires_in"`
	SessionEnds  int64  `json:"session_expires_in"`
	IdleEnds     int64  `json:"idle_expires_in"`
	ID           string `json:"id"`
	Sequence     uint64 `json:"sequence"`
	Error        string `json:"error"`
	Description  string `json:"error_description"`
	raw          string
	body         map[string]any
	networkError error
}

func (r *rig) do(req *http.Request) answer {
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{networkError: err}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{networkError: err}
	}
	a := answer{status: res.StatusCode, header: res.Header, raw: string(text)}
	if err := json.Unmarshal(text, &a); err != nil {
		r.t.Errorf("%s: answer %q is not JSON: %v", req.URL.Path, text, err)
	}
	_ = json.Unmarshal(text, &a.body)
	return a
}

func (r *rig) request(method, path, kind, body string) *http.Request {
	r.t.Helper()
	req, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	return req
}

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

func (r *rig) form(path string, pairs ...string) answer {
	v := url.Values{}
	for n := 0; n < len(pairs); n += 2 {
		v.Set(pairs[n], pairs[n+1])
	}
	return r.do(r.request("POST", path, formType, v.Encode()))
}

func (r *rig) tryLogin(name, pass string) answer {
	body, _ := json.Marshal(map[string]string{"username": name, "password": pass})
	return r.do(r.request("POST", "/login", jsonType, string(body)))
}

func (r *rig) login(name string) answer {
	r.t.Helper()
	a := r.tryLogin(name, password)
	if a.status != 200 {
		r.t.Fatalf("login of %s: got %d %s, want 200", name, a.status, a.raw)
	}
	return a
}

func (r *rig) refresh(token string) answer {
	return r.form("/token", "grant_type", "refresh_token", "refresh_token", token)
}

func (r *rig) bearer(path, token, body string) answer {
	r.t.Helper()
	kind := ""
	if body != "" {
		kind = jsonType
	}
	req := r.request("POST", path, kind, body)
	req.Header.Set("Authorization", "Bearer "+token)
	return r.do(req)
}

// revoke is POST /admin/revocations.
func (r *rig) revoke(admin, scope, key string) answer {
	r.t.Helper()
	confirm := key
	if scope == "issuer" {
		confirm = iss
	}
	body, _ := json.Marshal(map[string]string{"scope": scope, "key": key, "reason": "test", "confirm": confirm})
	return r.bearer("/admin/revocations", admin, string(body))
}

func (r *rig) want(what string, a answer, status int, code string) {
	r.t.Helper()
	if a.networkError != nil || a.status != status || a.Error != code {
		r.t.Errorf("%s: got %d %s %v, want %d %q", what, a.status, a.raw, a.networkError, status, code)
	}
}

func (r *rig) alive(what, access string) {
	r.t.Helper()
	if err := issuer.Verify(r.Issuer, access); err != nil {
		r.t.Errorf("%s: got %v, want an accepted token", what, err)
	}
}

func (r *rig) dead(what, access string) {
	r.t.Helper()
	if err := issuer.Verify(r.Issuer, access); err == nil {
		r.t.Errorf("%s: got an accepted token, want a refused one", what)
	}
}

func (r *rig) statements() []events.Revocation {
	r.t.Helper()
	return statements(r.t, r.cfg.Conn)
}

// statements reads the whole stream.
func statements(t testing.TB, nc *nats.Conn) []events.Revocation {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	stream, err := js.Stream(ctx, events.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	var out []events.Revocation
	for next := uint64(1); ; {
		m, err := stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject("quash.v1.session-revoked.*"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		r, err := events.Decode(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		out, next = append(out, r), m.Sequence+1
	}
}

// published counts the different statements of a scope and key.
func (r *rig) published(scope events.Scope, key string) int {
	r.t.Helper()
	ids := map[string]bool{}
	for _, s := range r.statements() {
		if s.Scope == scope && s.Key == key {
			ids[s.ID] = true
		}
	}
	return len(ids)
}

// clock is an adjustable one.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// stopped is a clock that stands.
type stopped struct {
	mu sync.Mutex
	at time.Time
}

func (c *stopped) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *stopped) set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
}

// logs collects everything that is logged.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// troubles are the lines above level info.
func (l *logs) troubles() string {
	var out []string
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, `"level":"WARN"`) || strings.Contains(line, `"level":"ERROR"`) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

func (l *logs) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func server(t testing.TB) *natstest.Server { return natstest.Start(t) }

func addressOf(f func() string) func(*http.Request) string {
	return func(*http.Request) string { return f() }
}
