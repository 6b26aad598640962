package issuer_test

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/issuer"
)

// TestNoOpenRedirect: as long as client and redirect URI do not belong together, nobody is sent anywhere (RFC 6749 §3.1.2.4,
// RFC 9700 §4.1, §4.11).
func TestNoOpenRedirect(t *testing.T) {
	r := start(t, server(t).URL(), applications)
	r.user("ann", "read")
	b := r.browser()
	f := newFlow()
	refused := func(what string, p page) {
		t.Helper()
		if p.status != 400 || p.header.Get("Location") != "" || p.ticket() != "" || !strings.HasPrefix(p.header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: got %d to %q, want the page of a mistake", what, p.status, p.header.Get("Location"))
		}
	}
	for _, uri := range []string{
		"https://shop.example/cb/", "https://shop.example/cb/../../evil", "https://shop.example/cb/..%2f", "https://shop.example/cb?x=1", "https://shop.example/cb#",
		"https://shop.example/cb#x", "https://shop.example/CB", "https://SHOP.example/cb", "HTTPS://shop.example/cb", "https://shop.example:443/cb", "https://shop.example./cb",
		"https://shop.example:8443/cb", "http://shop.example/cb", "https://shop.example", "https://shop.example/", "//shop.example/cb", "/cb", "cb", "",
		"https://evil.example/https://shop.example/cb", "https://shop.example@evil.example/cb", "https://shop.example%40evil.example/cb", "https://shop.example.evil.example/cb",
		"https://evil.example\\@shop.example/cb", "https://evil.example\\shop.example/cb", "https:\\\\shop.example/cb", "https:/shop.example/cb", "https:///shop.example/cb",
		"https://shop.example/cb%0d%0aSet-Cookie:x=1", "https://shop.example/cb\r\nX: y", "https://shop.example/cb\x00", "https://shop.example/cb ", " https://shop.example/cb", "https://shop.example/cb%00",
		"https://shop.example/cb%2e", "https://shop.example//cb", "https://shop.example/./cb", "https://shop.example/%63b", "https://shop．example/cb", "https://ѕhop.example/cb",
		"javascript:alert(1)//https://shop.example/cb", "data:text/html,x", "com.example.shop:/cb2", "COM.example.shop:/cb", "com.example.shop://cb",
		"https://shop.example/two", "https://shop.example/two?tenant=2", "https://shop.example/two?tenant=1&x=2", "https://shop.example/two?tenant=1#", "https://desk.example/cb",
		"http://127.0.0.1:0/cb", "http://127.0.0.1:00080/cb", "http://127.0.0.1:123456/cb", "http://127.0.0.1:/cb", "http://127.0.0.1:80@evil.example/cb", "http://127.0.0.1@evil.example/cb",
		"http://127.0.0.1:8x/cb", "http://127.0.0.1.evil.example/cb", "http://127.0.0.1:8080/cb/", "http://127.0.0.1:8080/cb?x", "http://127.0.0.2/cb", "http://localhost/cb", "http://localhost:8080/cb",
		"https://127.0.0.1/cb", "http://127.1/cb", "http://0x7f000001/cb", "http://2130706433/cb", "http://[::1]/cb2", "http://[0:0:0:0:0:0:0:1]/cb", "http://[::1%25lo]/cb", "http://[::1]:8000@evil.example/cb",
	} {
		refused("redirect_uri "+uri, b.open(f, "redirect_uri", uri))
		refused("with an error "+uri, b.open(f, "redirect_uri", uri, "response_type", "token"))
		refused("with prompt=none "+uri, b.open(f, "redirect_uri", uri, "prompt", "none"))
	}
	// Whatever is registered, only what is a loopback address has a free port.
	if issuer.MayReturnTo(issuer.Client{RedirectURIs: []string{"http://127.0.0.1.evil.example/cb"}}, "http://127.0.0.1:80.evil.example/cb") {
		t.Error("a host that begins like a loopback address has a free port")
	}
	for what, v := range map[string]url.Values{
		"no client":            f.values("client_id", ""),
		"unknown client":       f.values("client_id", "nobody"),
		"another client":       f.values("client_id", "desk"),
		"disabled client":      f.values("client_id", "off", "redirect_uri", "https://off.example/cb"),
		"client without grant": f.values("client_id", "machine", "redirect_uri", "https://machine.example/cb"),
		"two clients":          {"client_id": {"shop", "shop"}, "redirect_uri": {f.redirect}},
		"two redirects":        {"client_id": {"shop"}, "redirect_uri": {f.redirect, "https://evil.example"}},
		"the same twice":       {"client_id": {"shop"}, "redirect_uri": {f.redirect, f.redirect}},
		"too long":             f.values("state", strings.Repeat("a", 8<<10)),
	} {
		refused(what, b.send("GET", "/authorize?"+v.Encode(), ""))
		refused(what+", posted", b.send("POST", "/authorize", v.Encode()))
	}
	good := f.values().Encode()
	for what, query := range map[string]string{"semicolon": strings.ReplaceAll(good, "&", ";"), "bad escape": good + "&x=%zz", "empty": "", "just text": "%"} {
		refused(what, b.send("GET", "/authorize?"+query, ""))
	}
	refused("parameters in both places", b.send("POST", "/authorize?"+good, good))
	for _, uri := range []string{"https://shop.example/cb", "https://shop.example/two?tenant=1", "com.example.shop:/cb", "http://127.0.0.1/cb", "http://127.0.0.1:1/cb", "http://127.0.0.1:65535/cb",
		"http://[::1]/cb", "http://[::1]:9/cb"} {
		f.redirect = uri
		p := b.fill(b.open(f), "ann", password)
		if to := p.header.Get("Location"); p.status != 303 || !strings.HasPrefix(to, uri) || !strings.Contains("?&", to[len(uri):len(uri)+1]) {
			t.Errorf("%s: got %d to %q, want a redirect there", uri, p.status, to)
			continue
		}
		_, q := p.back(t)
		r.want(uri, r.exchange(f, q.Get("code")), 200, "")
		if strings.Contains(uri, "tenant") && q.Get("tenant") != "1" {
			t.Errorf("%s: got %v, want its own query kept", uri, q)
		}
	}
}

// TestAuthorizeErrors go back to the application: error, state as it came, and who says so (RFC 9207).
func TestAuthorizeErrors(t *testing.T) {
	r := start(t, server(t).URL(), applications)
	r.user("ann", "read")
	b := r.browser()
	f := newFlow()
	f.state = `"><script>alert(1)</script>` + "\r\nX-Evil: 1 &error=none"
	challenge := f.values().Get("code_challenge")
	for what, c := range map[string]struct {
		change []string
		code   string
	}{
		"no response type":   {[]string{"response_type", ""}, "invalid_request"},
		"implicit":           {[]string{"response_type", "token"}, "unsupported_response_type"},
		"hybrid":             {[]string{"response_type", "code id_token"}, "unsupported_response_type"},
		"no challenge":       {[]string{"code_challenge", ""}, "invalid_request"},
		"no PKCE at all":     {[]string{"code_challenge", "", "code_challenge_method", ""}, "invalid_request"},
		"plain":              {[]string{"code_challenge_method", "plain"}, "invalid_request"},
		"plain by default":   {[]string{"code_challenge_method", ""}, "invalid_request"},
		"s256":               {[]string{"code_challenge_method", "s256"}, "invalid_request"},
		"short challenge":    {[]string{"code_challenge", challenge[1:]}, "invalid_request"},
		"padded challenge":   {[]string{"code_challenge", challenge + "="}, "invalid_request"},
		"verifier as such":   {[]string{"code_challenge", strings.Repeat("~", 43)}, "invalid_request"},
		"request object":     {[]string{"request", "eyJhbGciOiJub25lIn0.e30."}, "request_not_supported"},
		"request by address": {[]string{"request_uri", "http://127.0.0.1/x"}, "request_uri_not_supported"},
		"registration":       {[]string{"registration", "{}"}, "registration_not_supported"},
		"form_post":          {[]string{"response_mode", "form_post"}, "invalid_request"},
		"fragment":           {[]string{"response_mode", "fragment"}, "invalid_request"},
		"scope":              {[]string{"scope", `read "x"`}, "invalid_scope"},
		"many scopes":        {[]string{"scope", strings.Repeat("a ", 51)}, "invalid_scope"},
		"prompt none":        {[]string{"prompt", "none"}, "login_required"},
		"prompt none login":  {[]string{"prompt", "none login"}, "invalid_request"},
		"max_age":            {[]string{"max_age", "-1"}, "invalid_request"},
		"max_age text":       {[]string{"max_age", "1e3"}, "invalid_request"},
		"long nonce":         {[]string{"nonce", strings.Repeat("n", 513)}, "invalid_request"},
	} {
		for _, p := range []page{b.open(f, c.change...), b.send("POST", "/authorize", f.values(c.change...).Encode())} {
			to, q := p.back(t)
			if p.status != 303 || to != f.redirect || q.Get("error") != c.code || q.Get("state") != f.state || q.Get("iss") != iss || q.Has("code") {
				t.Errorf("%s: got %d to %q %v, want error %s, state and iss", what, p.status, to, q, c.code)
			}
			if p.header.Get("X-Evil") != "" || p.header.Get("Referrer-Policy") != "no-referrer" || p.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: got headers %v", what, p.header)
			}
		}
	}
	for _, name := range []string{"scope", "nonce", "response_type", "code_challenge", "code_challenge_method", "prompt", "unknown"} {
		v := f.values()
		v[name] = []string{v.Get(name), "x"}
		if _, q := b.send("GET", "/authorize?"+v.Encode(), "").back(t); q.Get("error") != "invalid_request" || q.Get("state") != f.state {
			t.Errorf("%s twice: got %v, want invalid_request", name, q)
		}
	}
	v := f.values()
	v["state"] = []string{"one", "two"}
	if _, q := b.send("GET", "/authorize?"+v.Encode(), "").back(t); q.Get("error") != "invalid_request" || q.Has("state") {
		t.Errorf("state twice: got %v, want invalid_request without a state", q)
	}
	for what, change := range map[string][]string{"max_age 0": {"max_age", "0"}, "prompt": {"prompt", "login consent"}, "unknown parameter": {"ui_locales", "de"}, "no state": {"state", ""}, "no nonce": {"nonce", ""}} {
		if p := b.open(f, change...); p.status != 200 || p.ticket() == "" {
			t.Errorf("%s: got %d, want the page", what, p.status)
		}
	}
	none := b.fill(b.open(f, "scope", "delete"), "ann", password)
	if _, q := none.back(t); q.Get("error") != "invalid_scope" || q.Has("code") {
		t.Errorf("no scope left: got %v, want invalid_scope", q)
	}
}

func TestLoginPage(t *testing.T) {
	var c clock
	r := start(t, server(t).URL(), applications, func(cfg *issuer.Config) { cfg.Now, cfg.MaxStaleness = c.now, 1000*time.Hour })
	r.user("ann", "read")
	b := r.browser()
	f := newFlow()
	p := b.open(f, "login_hint", "ann")
	style := p.body[strings.Index(p.body, "<style>")+7 : strings.Index(p.body, "</style>")]
	sum := sha256.Sum256([]byte(style))
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; form-action 'self' https:; frame-ancestors 'none'; base-uri 'none'",
		"X-Frame-Options": "DENY", "Cache-Control": "no-store", "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
		"X-Content-Type-Options": "nosniff", "Content-Type": "text/html; charset=utf-8",
	} {
		if got := p.header.Get(name); got != want {
			t.Errorf("got %s: %s\nwant %s", name, got, want)
		}
	}
	if got := p.header.Get("Set-Cookie"); !strings.HasPrefix(got, "__Host-quash-login=") || !strings.HasSuffix(got, "; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax") {
		t.Errorf("got cookie %q", got)
	}
	for _, want := range []string{`<html lang="en">`, `<title>Log in to The Shop</title>`, `<bdi>The Shop</bdi>`, `<bdi>shop.example</bdi>`, `<bdi>issuer.example</bdi>`, `name="viewport"`,
		`<label for="username">`, `<label for="password">`, `autocomplete="username"`, `autocomplete="current-password"`, `value="ann"`, `action="/auth/authorize/login"`} {
		if !strings.Contains(p.body, want) {
			t.Errorf("the page has no %s:\n%s", want, p.text())
		}
	}
	for _, not := range []string{"<script", " style=", " on", "http://", "role=\"alert\"", "aria-invalid=\"true\""} {
		if strings.Contains(p.text(), not) && not != " on" {
			t.Errorf("the page has %s:\n%s", not, p.text())
		}
	}
	cancel := html.UnescapeString(p.body[strings.Index(p.body, `<a href="`)+9:])
	back, err := url.Parse(cancel[:strings.Index(cancel, `"`)])
	if err != nil || back.Host != "shop.example" || back.Query().Get("error") != "access_denied" || back.Query().Get("state") != f.state {
		t.Errorf("cancel leads to %v %v", back, err)
	}

	wrong, unknown := b.fill(p, "ann", "x"), b.fill(p, "nobody", "x")
	same := func(p page, name string) string {
		return strings.NewReplacer(p.ticket(), "", `value="`+name+`"`, "").Replace(p.body)
	}
	if wrong.status != 400 || unknown.status != 400 || same(wrong, "ann") != same(unknown, "nobody") {
		t.Errorf("wrong password %d, unknown user %d: want the same page\n%s\n%s", wrong.status, unknown.status, wrong.text(), unknown.text())
	}
	for _, want := range []string{`role="alert"`, `aria-describedby="problem" autofocus aria-invalid="true"`, "<title>Error: ", `value="ann"`} {
		if !strings.Contains(wrong.body, want) {
			t.Errorf("after a wrong password the page has no %s:\n%s", want, wrong.text())
		}
	}
	if strings.Contains(wrong.body, `value="x"`) {
		t.Error("the page repeats the password")
	}
	for what, p := range map[string]page{"empty name": b.fill(p, "", "x"), "no password": b.fill(p, "ann", ""), "long password": b.fill(p, "ann", strings.Repeat("x", 1025)),
		"long name": b.fill(p, strings.Repeat("x", 257), "x"), "broken name": b.fill(p, "\xff", "x")} {
		if p.status != 400 || p.ticket() == "" {
			t.Errorf("%s: got %d, want the page again", what, p.status)
		}
	}
	if again := b.fill(wrong, "ann", password); again.status != 303 {
		t.Errorf("second attempt: got %d, want 303", again.status)
	}
	r.advance(&c, 10*time.Minute)
	late := b.fill(p, "ann", password)
	if late.status != 400 || late.ticket() == "" || !strings.Contains(late.body, "open for too long") || strings.Contains(late.body, "aria-invalid=\"true\"") {
		t.Errorf("after ten minutes: got %d %s, want the page again", late.status, late.text())
	}
	if again := b.fill(late, "ann", password); again.status != 303 {
		t.Errorf("and again: got %d, want 303", again.status)
	}
}

func TestLoginPageOfADisabledAccount(t *testing.T) {
	r := start(t, server(t).URL(), applications)
	u := r.user("ann", "read")
	if err := r.Disable(within(t), u.Sub, issuer.Cause{}); err != nil {
		t.Fatal(err)
	}
	b := r.browser()
	p := b.open(newFlow())
	if wrong := b.fill(p, "ann", "x"); wrong.status != 400 || strings.Contains(wrong.body, "disabled") {
		t.Errorf("wrong password: got %d %s, want nothing about the account", wrong.status, wrong.text())
	}
	right := b.fill(p, "ann", password)
	if right.status != 403 || right.header.Get("Location") != "" || !strings.Contains(right.body, "This account is disabled") {
		t.Errorf("right password: got %d %s, want 403 on the page", right.status, right.text())
	}
	if err := r.Enable(within(t), u.Sub); err != nil {
		t.Fatal(err)
	}
	r.want("enabled again", r.exchange(newFlow(), ""), 400, "invalid_request")
	f := newFlow()
	r.want("enabled again", r.exchange(f, b.code(f, "ann")), 200, "")
}

// TestLoginPageIsThrottled together with POST /login.
func TestLoginPageIsThrottled(t *testing.T) {
	r := start(t, server(t).URL(), applications, func(c *issuer.Config) { c.LoginBurst, c.LoginEvery = 3, time.Hour })
	r.user("ann", "read")
	b := r.browser()
	p := b.open(newFlow())
	r.want("one", r.tryLogin("ann", "x"), 401, "invalid_credentials")
	for range 2 {
		if p := b.fill(p, "ann", "x"); p.status != 400 {
			t.Errorf("got %d, want 400", p.status)
		}
	}
	last := b.fill(p, "ann", password)
	if last.status != 429 || last.header.Get("Retry-After") == "" || last.ticket() == "" || !strings.Contains(last.body, "Too many attempts") {
		t.Errorf("got %d %v %s, want 429 with Retry-After on the page", last.status, last.header, last.text())
	}
	r.want("POST /login as well", r.tryLogin("ann", password), 429, "temporarily_unavailable")
}

// TestLoginCSRF: a form counts only in the browser for which it was made, and only if our page sent it.
func TestLoginCSRF(t *testing.T) {
	r := start(t, server(t).URL(), applications)
	r.user("ann", "read")
	f := newFlow()
	victim, attacker := r.browser(), r.browser()
	mine, evil := victim.open(f), attacker.open(f, "state", "evil")
	refused := func(what string, p page) {
		t.Helper()
		if p.status != 403 || p.header.Get("Location") != "" {
			t.Errorf("%s: got %d to %q, want 403", what, p.status, p.header.Get("Location"))
		}
	}
	refused("another browser's form", victim.fill(evil, "ann", password))
	refused("a browser without cookie", r.browser().fill(mine, "ann", password))
	refused("no ticket", victim.send("POST", "/authorize/login", "username=ann&password="+url.QueryEscape(password)))
	for n := range len(mine.ticket()) {
		if n%97 == 0 {
			changed := []byte(mine.ticket())
			changed[n] ^= 1
			refused("changed ticket", victim.send("POST", "/authorize/login", url.Values{"ticket": {string(changed)}, "username": {"ann"}, "password": {password}}.Encode()))
		}
	}
	two := &browser{r, victim.cookies}
	refused("two cookies", two.fill(mine, "ann", password, "Cookie", "__Host-quash-login="+attacker.cookies["__Host-quash-login"]))
	refused("cross-site", victim.fill(mine, "ann", password, "Sec-Fetch-Site", "cross-site"))
	refused("same site, other origin", victim.fill(mine, "ann", password, "Sec-Fetch-Site", "same-site"))
	refused("other origin", victim.fill(mine, "ann", password, "Origin", "https://evil.example"))
	refused("null origin", victim.fill(mine, "ann", password, "Origin", "null"))
	if p := victim.fill(mine, "ann", password, "Origin", "https://issuer.example", "Sec-Fetch-Site", "same-origin"); p.status != 303 {
		t.Errorf("our own page: got %d, want 303", p.status)
	}
	planted := &browser{r, map[string]string{"__Host-quash-login": "x", "quash-login": attacker.cookies["__Host-quash-login"]}}
	if p := planted.open(f); planted.cookies["__Host-quash-login"] == "x" || planted.fill(p, "ann", password).status != 303 {
		t.Errorf("a cookie that is not ours stays in use")
	}
	tabs := r.browser()
	first, second := tabs.open(f), tabs.open(f, "state", "two")
	for _, p := range []page{second, first} {
		if done := tabs.fill(p, "ann", password); done.status != 303 {
			t.Errorf("two tabs: got %d, want 303", done.status)
		}
	}
}

// TestLoginFormIsCheckedAgain: what was true when the page was shown need not be so when the form comes back.
func TestLoginFormIsCheckedAgain(t *testing.T) {
	nats := server(t).URL()
	r := start(t, nats, applications)
	r.user("ann", "read")
	f := newFlow()
	b := r.browser()
	p := b.open(f)
	cfg := r.cfg
	applications(&cfg)
	cfg.Clients[1].RedirectURIs = []string{"https://new.example/cb"}
	b.r = startWith(t, nats, cfg)
	if done := b.fill(p, "ann", password); done.status != 400 || done.header.Get("Location") != "" {
		t.Errorf("redirect URI taken away: got %d to %q, want 400", done.status, done.header.Get("Location"))
	}
}

func TestLoginPageInjection(t *testing.T) {
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>'{{.}}`
	r := start(t, server(t).URL(), applications, func(c *issuer.Config) { c.Clients[1].Name = evil })
	r.user("ann", "read")
	b := r.browser()
	f := newFlow()
	f.state, f.nonce = evil, evil
	p := b.open(f, "login_hint", evil, "ui_locales", evil)
	for what, p := range map[string]page{"page": p, "wrong password": b.fill(p, evil, evil), "problem": b.open(f, "redirect_uri", evil), "client": b.open(f, "client_id", evil)} {
		text := p.text()
		if strings.Contains(text, "<script") || strings.Contains(text, "<img") || strings.Count(text, `"`)%2 != 0 {
			t.Errorf("%s: what came in gets out:\n%s", what, text)
		}
	}
	done := b.fill(p, "ann", password)
	if _, q := done.back(t); q.Get("state") != evil || q.Get("code") == "" {
		t.Errorf("got %v, want the state as it came", q)
	}
}

func TestAuthorizeMethods(t *testing.T) {
	r := start(t, server(t).URL(), applications)
	r.user("ann", "read")
	b := r.browser()
	f := newFlow()
	query := "/authorize?" + f.values().Encode()
	for _, m := range []string{"PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get"} {
		if p := b.send(m, query, ""); p.status != 405 || p.header.Get("Allow") != "GET, HEAD, POST" || p.header.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: got %d %v, want 405", m, p.status, p.header)
		}
	}
	if p := b.send("HEAD", query, ""); p.status != 200 || p.body != "" {
		t.Errorf("HEAD: got %d %q", p.status, p.body)
	}
	form := url.Values{"ticket": {b.open(f).ticket()}, "username": {"ann"}, "password": {password}}.Encode()
	for _, m := range []string{"GET", "HEAD", "PUT"} {
		if p := b.send(m, "/authorize/login?"+form, ""); p.status != 405 || p.header.Get("Location") != "" {
			t.Errorf("%s of the form: got %d, want 405", m, p.status)
		}
	}
	if p := b.send("POST", "/authorize/login?"+form, form); p.status != 400 {
		t.Errorf("a password in the query: got %d, want 400", p.status)
	}
	if p := b.send("POST", "/authorize/login", form+"&username=bob"); p.status != 400 {
		t.Errorf("two names: got %d, want 400", p.status)
	}
	if p := b.send("POST", "/authorize/login", form+"&x="+strings.Repeat("a", 70_000)); p.status != 413 {
		t.Errorf("a large form: got %d, want 413", p.status)
	}
	if p := b.send("POST", "/authorize", f.values().Encode()); p.status != 200 || p.ticket() == "" {
		t.Errorf("POST of a request: got %d, want the page (OpenID Connect Core §3.1.2.1)", p.status)
	}
}

func TestLoginPageWithoutNATS(t *testing.T) {
	t.Parallel()
	nats := server(t)
	r := start(t, nats.URL(), applications)
	r.user("ann", "read")
	b := r.browser()
	p := b.open(newFlow())
	nats.Stop()
	until(t, "the issuer misses NATS", func() bool { return r.Ready() != nil })
	done := b.fill(p, "ann", password)
	if done.status != 503 || done.header.Get("Retry-After") == "" || done.header.Get("Location") != "" || !strings.Contains(done.body, "does not work at the moment") {
		t.Errorf("got %d %v %s, want 503 on the page", done.status, done.header, done.text())
	}
}
