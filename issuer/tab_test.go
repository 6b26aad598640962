package issuer_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/quash-auth/quash/issuer"
)

const (
	accessCookie  = "__Host-quash"
	refreshCookie = "__Secure-quash-refresh"
)

// tab is a page of an application in a browser, which keeps cookies and says where the page comes from.
type tab struct {
	*rig
	cookies map[string]string
	page    string // Sec-Fetch-Site
}

func (r *rig) tab() *tab {
	return &tab{r, map[string]string{}, "same-origin"}
}

// withCookies switches them on.
func withCookies(c *issuer.Config) { c.Cookies = &issuer.Cookies{} }

func (b *tab) send(req *http.Request) answer {
	b.t.Helper()
	for _, name := range slices.Sorted(maps.Keys(b.cookies)) {
		req.AddCookie(&http.Cookie{Name: name, Value: b.cookies[name]})
	}
	if b.page != "" {
		req.Header.Set("Sec-Fetch-Site", b.page)
	}
	a := b.do(req)
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return a
}

func (b *tab) tryLogin(name, pass string) answer {
	b.t.Helper()
	body, err := json.Marshal(map[string]any{"username": name, "password": pass, "cookies": true})
	if err != nil {
		b.t.Fatal(err)
	}
	return b.send(b.request("POST", "/login", jsonType, string(body)))
}

func (b *tab) login(name string) answer {
	b.t.Helper()
	a := b.tryLogin(name, password)
	b.got("login", a)
	return a
}

// got checks an answer with cookies in place of tokens.
func (b *tab) got(what string, a answer) {
	b.t.Helper()
	if a.status != 200 || a.Sid == "" || a.Type != "Bearer" || a.ExpiresIn <= 0 {
		b.t.Fatalf("%s: got %d %s, want 200 and when it ends", what, a.status, a.raw)
	}
	for _, value := range b.cookies {
		if strings.Contains(a.raw, value) {
			b.t.Errorf("%s: the body %s holds a cookie's value", what, a.raw)
		}
	}
	if a.Access != "" || a.Refresh != "" || b.access() == "" || b.cookies[refreshCookie] == "" {
		b.t.Errorf("%s: got body %s and cookies %d, want no tokens in the body and both cookies", what, a.raw, len(b.cookies))
	}
}

func (b *tab) post(path string, pairs ...string) answer {
	b.t.Helper()
	v := url.Values{}
	for n := 0; n < len(pairs); n += 2 {
		v.Set(pairs[n], pairs[n+1])
	}
	return b.send(b.request("POST", path, formType, v.Encode()))
}

func (b *tab) refresh() answer {
	b.t.Helper()
	return b.post("/token", "grant_type", "refresh_token")
}

func (b *tab) logout() answer {
	b.t.Helper()
	return b.send(b.request("POST", "/logout", "", ""))
}

func (b *tab) access() string { return b.cookies[accessCookie] }

// copy is a thief's, or the same browser before an answer arrived; on another replica if it is not nil.
func (b *tab) copy(other *rig) *tab {
	if other == nil {
		other = b.rig
	}
	return &tab{other, maps.Clone(b.cookies), b.page}
}

func (b *tab) state(sid string) string {
	b.t.Helper()
	s, err := issuer.SessionState(within(b.t), b.Issuer, sid)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// setCookies are the answer's Set-Cookie lines without their values, sorted.
func setCookies(a answer) []string {
	var out []string
	for _, line := range a.header.Values("Set-Cookie") {
		name, rest, _ := strings.Cut(line, "=")
		_, attributes, _ := strings.Cut(rest, ";")
		out = append(out, name+";"+attributes)
	}
	slices.Sort(out)
	return out
}
