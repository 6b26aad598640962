package main

import (
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/quash-auth/quash/internal/ports"
)

// front is one https origin in front of a world, as in production: /auth is the issuer, /api the first API node.
type front struct {
	*world
	origin string
	tls    *httptest.Server
	ready  atomic.Bool // the world is up, its nodes are known
}

// newFront starts a world whose issuer is known by the front's URL.
func newFront(t *testing.T, options ...worldOption) *front {
	t.Helper()
	f := &front{}
	issuer, err := ports.Address()
	if err != nil {
		t.Fatal(err)
	}
	handler := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: issuer})
		if path, isAPI := strings.CutPrefix(r.In.URL.Path, "/api"); isAPI && f.ready.Load() {
			r.SetURL(mustURL(f.node(0)))
			r.Out.URL.Path = path
		}
		r.Out.Host = r.In.Host
	}}
	f.tls = httptest.NewTLSServer(handler)
	t.Cleanup(f.tls.Close)
	plain := httptest.NewServer(handler) // for the node, which does not know the test's certificate
	t.Cleanup(plain.Close)
	f.origin = f.tls.URL
	f.world = newWorld(t, append([]worldOption{
		withAddress(issuer), withIssuer("--issuer", f.origin+"/auth", "--cookies"),
		withNode("--issuer", f.origin+"/auth", "--jwks", plain.URL+"/auth/.well-known/jwks.json", "--cookie", "__Host-quash"),
	}, options...)...)
	f.ready.Store(true)
	f.face.url = f.issuers[0].url() + "/auth"
	return f
}

func mustURL(text string) *url.URL {
	u, err := url.Parse(text)
	if err != nil {
		panic(err)
	}
	return u
}

// browser is one with a cookie jar; what it sends says that it comes from its own page, unless told otherwise.
type browser struct {
	*front
	jar  *cookiejar.Jar
	site string
}

func (f *front) browser() *browser {
	f.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		f.t.Fatal(err)
	}
	return &browser{f, jar, "same-origin"}
}

func (b *browser) send(method, path, kind, body string, header ...string) reply {
	b.t.Helper()
	req := face{b.world, b.origin}.request(method, path, "", kind, body)
	req.Header.Set("Sec-Fetch-Site", b.site)
	for n := 0; n < len(header); n += 2 {
		req.Header.Set(header[n], header[n+1])
	}
	for _, c := range b.jar.Cookies(req.URL) {
		req.AddCookie(c)
	}
	resp, err := b.tls.Client().Transport.RoundTrip(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	b.jar.SetCookies(req.URL, resp.Cookies())
	return b.read(resp)
}

func (b *browser) tryLogin(name, password string) reply {
	b.t.Helper()
	return b.send("POST", "/auth/login", "application/json", `{"username":"`+name+`","password":"`+password+`","cookies":true}`)
}

func (b *browser) login(name string) reply {
	b.t.Helper()
	r := b.tryLogin(name, b.password(name))
	b.noTokens("login", r)
	return r
}

func (b *browser) refresh() reply {
	b.t.Helper()
	return b.send("POST", "/auth/token", "application/x-www-form-urlencoded", "grant_type=refresh_token&client_id=quash")
}

// api asks the first API node with whatever the jar has for it.
func (b *browser) api(method string, header ...string) reply {
	b.t.Helper()
	return b.send(method, "/api/secure", "", "", header...)
}

// noTokens: all in cookies, nothing for scripts.
func (b *browser) noTokens(what string, r reply) {
	b.t.Helper()
	if r.status != 200 || r.text("access_token") != "" || r.text("refresh_token") != "" || r.seconds("expires_in") < 1 ||
		r.seconds("session_expires_in") < 1 || r.seconds("idle_expires_in") < 1 || r.text("sid") == "" {
		b.t.Fatalf("%s: got %s with %d members, want 200, the limits and no tokens", what, r, len(r.body))
	}
	for _, value := range b.cookies("/auth/") {
		if strings.Contains(r.raw, value) {
			b.t.Errorf("%s: the body holds a cookie's value", what)
		}
	}
}

// cookies that the jar would send to a path.
func (b *browser) cookies(path string) map[string]string {
	b.t.Helper()
	found := map[string]string{}
	for _, c := range b.jar.Cookies(mustURL(b.origin + path)) {
		found[c.Name] = c.Value
	}
	return found
}

func (b *browser) token() string { return b.cookies("/api/")["__Host-quash"] }

// plant puts this browser's cookies into another one.
func (b *browser) plant(into *browser) {
	for path, names := range map[string][]string{"/": {"__Host-quash"}, "/auth": {"__Secure-quash-refresh"}} {
		for _, name := range names {
			into.jar.SetCookies(mustURL(b.origin+"/auth/"), []*http.Cookie{{Name: name, Value: b.cookies("/auth/")[name], Path: path, Secure: true}})
		}
	}
}

// TestSituation5_Cookies is a browser's life against the running program, behind one https origin.
func TestSituation5_Cookies(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	b := f.browser()
	first := b.login("ann")
	lines := strings.Join(first.header.Values("Set-Cookie"), "\n")
	for _, want := range []string{`__Host-quash=[^;]+; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax`, `__Secure-quash-refresh=[^;]+; Path=/auth; Max-Age=86(400|3..); HttpOnly; Secure; SameSite=Strict`} {
		if !regexp.MustCompile(`(?m)^` + want + `$`).MatchString(lines) {
			t.Errorf("login: no Set-Cookie has %s", want)
		}
	}
	if names := b.cookies("/api/secure"); len(names) != 1 || names["__Host-quash"] == "" {
		t.Errorf("the API gets %d cookies, want the access token alone", len(names))
	}

	// The API takes the cookie, and changes nothing for other sites.
	if r := b.api("GET"); r.status != 200 || r.text("sid") != first.text("sid") {
		t.Errorf("GET by cookie: got %s, want 200", r)
	}
	if r := b.api("POST"); r.status != 200 {
		t.Errorf("POST from its own page: got %s, want 200", r)
	}
	if r := b.api("GET", "Authorization", "Bearer "+b.token()); r.status != 400 {
		t.Errorf("header and cookie: got %s, want 400", r)
	}
	b.site = "cross-site"
	for what, r := range map[string]reply{
		"the API": b.api("POST", "Origin", "https://evil.example"), "refresh": b.refresh(), "login": b.tryLogin("ann", f.password("ann")),
		"logout": b.send("POST", "/auth/logout", "", ""), "logout-all": b.send("POST", "/auth/logout-all", "", ""),
		"end of a session": b.send("DELETE", "/auth/sessions/"+first.text("sid"), "", ""),
	} {
		if r.status != 403 || len(r.header.Values("Set-Cookie")) != 0 {
			t.Errorf("%s from another site: got %s, want 403", what, r)
		}
	}
	b.site = "same-origin"
	if n := len(f.statements()); n != 0 {
		t.Fatalf("got %d statements, want none so far", n)
	}

	// Refresh: the old session ends everywhere, a new one takes its place.
	old := b.token()
	second := b.refresh()
	b.noTokens("refresh", second)
	f.wants(0, old, 401)
	if r := b.api("GET"); r.status != 200 || r.text("sid") != second.text("sid") || second.text("sid") == first.text("sid") {
		t.Errorf("after the refresh: got %s, want 200 and another session", r)
	}
	if told := f.statementsOf(first.text("sid")); len(told) != 1 || told[0].By != "user" || !strings.HasPrefix(told[0].Reason, "renewed") {
		t.Errorf("on the stream: got %+v, want the old session's end by the user", told)
	}

	// Login: likewise, and no pile.
	old = b.token()
	for range 10 {
		b.login("ann")
	}
	f.wants(0, old, 401)
	list := b.send("GET", "/auth/sessions", "", "")
	if sessions, _ := list.body["sessions"].([]any); list.status != 200 || len(sessions) != 1 {
		t.Errorf("GET /sessions: got %s with %d sessions, want one living", list, len(sessions))
	}
	if told := f.statementsOf(second.text("sid")); len(told) != 1 || told[0].Reason != "replaced by a new login" {
		t.Errorf("on the stream: got %+v, want the replaced session's end", told)
	}

	// Logout.
	old = b.token()
	if r := b.send("POST", "/auth/logout", "", ""); r.status != 200 || len(b.cookies("/auth/")) != 0 {
		t.Errorf("logout: got %s and %d cookies, want 200 and none", r, len(b.cookies("/auth/")))
	}
	f.wants(0, old, 401)
	if r := b.api("GET"); r.status != 401 {
		t.Errorf("without cookies: got %s, want 401", r)
	}
}

// TestSituation5_Fixation: a session that somebody planted in her browser is worth nothing to him once she has logged in.
func TestSituation5_Fixation(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	attacker, ann := f.browser(), f.browser()
	planted := attacker.login("bob")
	attacker.plant(ann)
	kept := attacker.token()
	if r := ann.api("GET"); r.status != 200 {
		t.Fatalf("the planted session in her browser: got %s, want 200", r)
	}
	own := ann.login("ann")
	if own.text("sid") == planted.text("sid") {
		t.Fatal("her login went into the planted session")
	}
	f.wants(0, kept, 401)
	f.out("the planted refresh cookie", attacker.refresh())
	if r := ann.api("GET"); r.status != 200 || r.text("sid") != own.text("sid") {
		t.Errorf("her own session: got %s, want 200", r)
	}

	// Stolen the other way round: whoever uses an old cookie ends the login.
	thief := f.browser()
	ann.plant(thief)
	ann.noTokens("refresh", ann.refresh())
	ann.noTokens("refresh", ann.refresh())
	last := ann.token()
	f.out("the stolen cookie", thief.refresh())
	f.wants(0, last, 401)
	f.out("her next refresh: she logs in again and knows", ann.refresh())
}
