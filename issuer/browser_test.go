package issuer_test

import (
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/quash-auth/quash/issuer"
)

// browser is what the login page meets: it keeps cookies and follows nothing. Its cookies are kept by hand, because the issuer
// believes in https and the test speaks http.
type browser struct {
	r       *rig
	cookies map[string]string
}

func (r *rig) browser() *browser { return &browser{r, map[string]string{}} }

// page is any answer to a browser.
type page struct {
	status int
	header http.Header
	body   string
}

func (b *browser) send(method, path, body string, header ...string) page {
	b.r.t.Helper()
	kind := ""
	if body != "" {
		kind = formType
	}
	req := b.r.request(method, path, kind, body)
	for name, value := range b.cookies {
		req.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	for n := 0; n < len(header); n += 2 {
		req.Header.Add(header[n], header[n+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		b.r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.r.t.Fatal(err)
	}
	for _, c := range res.Cookies() {
		b.cookies[c.Name] = c.Value
	}
	return page{res.StatusCode, res.Header, string(text)}
}

var ticketPattern = regexp.MustCompile(`name="ticket" value="([^"]*)"`)

// text is the page without its head.
func (p page) text() string {
	_, body, _ := strings.Cut(p.body, "<body>")
	return body
}

func (p page) ticket() string {
	if m := ticketPattern.FindStringSubmatch(p.body); m != nil {
		return m[1]
	}
	return ""
}

// back is where a redirect leads: the address without its query, and the query.
func (p page) back(t testing.TB) (to string, q url.Values) {
	t.Helper()
	to, query, _ := strings.Cut(p.header.Get("Location"), "?")
	q, err := url.ParseQuery(query)
	if err != nil {
		t.Errorf("Location %q: %v", p.header.Get("Location"), err)
	}
	return to, q
}

// flow is one authorization of a client.
type flow struct{ client, secret, redirect, state, nonce, scope, verifier string }

func newFlow() flow {
	return flow{client: "shop", redirect: "https://shop.example/cb", state: "st", nonce: "n-1", scope: "openid read", verifier: issuer.NewSecret()}
}

func (f flow) values(change ...string) url.Values {
	h := sha256.Sum256([]byte(f.verifier))
	v := url.Values{"response_type": {"code"}, "client_id": {f.client}, "redirect_uri": {f.redirect}, "state": {f.state},
		"nonce": {f.nonce}, "scope": {f.scope}, "code_challenge_method": {"S256"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(h[:])}}
	for n := 0; n < len(change); n += 2 {
		v.Del(change[n])
		if change[n+1] != "" {
			v.Set(change[n], change[n+1])
		}
	}
	return v
}

// open shows the login page.
func (b *browser) open(f flow, change ...string) page {
	b.r.t.Helper()
	return b.send("GET", "/authorize?"+f.values(change...).Encode(), "")
}

func (b *browser) fill(p page, name, pass string, header ...string) page {
	b.r.t.Helper()
	return b.send("POST", "/authorize/login", url.Values{"ticket": {p.ticket()}, "username": {name}, "password": {pass}}.Encode(), header...)
}

// code logs in and returns the code.
func (b *browser) code(f flow, name string) string {
	b.r.t.Helper()
	p := b.fill(b.open(f), name, password)
	_, q := p.back(b.r.t)
	if p.status != 303 || q.Get("code") == "" {
		b.r.t.Fatalf("login of %s: got %d to %q, want 303 with a code\n%s", name, p.status, p.header.Get("Location"), p.text())
	}
	return q.Get("code")
}

// exchange is POST /token with a code.
func (r *rig) exchange(f flow, code string, change ...string) answer {
	r.t.Helper()
	v := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {f.redirect}, "code_verifier": {f.verifier}}
	if f.secret == "" {
		v.Set("client_id", f.client)
	}
	for n := 0; n < len(change); n += 2 {
		v.Del(change[n])
		if change[n+1] != "" {
			v.Set(change[n], change[n+1])
		}
	}
	req := r.request("POST", "/token", formType, v.Encode())
	if f.secret != "" {
		req.SetBasicAuth(url.QueryEscape(f.client), url.QueryEscape(f.secret))
	}
	return r.do(req)
}

const deskSecret = "a secret of the desk that nobody would guess"

// applications are two clients of the code flow.
func applications(c *issuer.Config) {
	code := []string{issuer.GrantAuthorizationCode, issuer.GrantRefresh}
	c.Clients = []issuer.Client{
		{ID: "quash", Public: true},
		{ID: "shop", Name: "The Shop", Public: true, Grants: code, Scopes: []string{"read", "write"}, RedirectURIs: []string{"https://shop.example/cb",
			"https://shop.example/two?tenant=1", "http://127.0.0.1/cb", "http://[::1]:8000/cb", "com.example.shop:/cb"}},
		{ID: "desk", SecretHash: issuer.HashSecret(deskSecret), Grants: code, Audience: []string{"https://desk.example"},
			RedirectURIs: []string{"https://desk.example/cb"}},
		{ID: "off", Disabled: true, Public: true, Grants: code, RedirectURIs: []string{"https://off.example/cb"}},
		{ID: "machine", SecretHash: issuer.HashSecret(deskSecret), Grants: []string{issuer.GrantRefresh}, RedirectURIs: []string{"https://machine.example/cb"}},
	}
}
