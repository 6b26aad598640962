package interop

import (
	"errors"
	"html"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// browser is what a person needs to log in: cookies, forms and redirects, up to the
// client's own address, where it stops.
type browser struct {
	t      testing.TB
	http   *http.Client
	back   string   // the client's address
	landed *url.URL // what the client was called with
}

var errLanded = errors.New("back at the client")

func newBrowser(t testing.TB, back string) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, back: back}
	b.http = &http.Client{Jar: jar, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		switch {
		case strings.HasPrefix(req.URL.String(), b.back):
			b.landed = req.URL
			return errLanded
		case len(via) > 10:
			return errors.New("too many redirects")
		}
		return nil
	}}
	return b
}

// do gives the page, if it did not come back to the client.
func (b *browser) do(req *http.Request) (status int, page string) {
	b.t.Helper()
	res, err := b.http.Do(req)
	if errors.Is(err, errLanded) {
		return res.StatusCode, ""
	}
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // only read
	return res.StatusCode, readAll(b.t, res.Body)
}

func (b *browser) open(target string) (status int, page string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, target, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.do(req)
}

var (
	formAction = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
	hidden     = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
)

// fill submits the page's form.
func (b *browser) fill(at, page string, fields url.Values) (status int, next string) {
	b.t.Helper()
	action := formAction.FindStringSubmatch(page)
	if action == nil {
		b.t.Fatalf("the page has no form: %s", page)
	}
	base, err := url.Parse(at)
	if err != nil {
		b.t.Fatal(err)
	}
	target, err := base.Parse(html.UnescapeString(action[1]))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, in := range hidden.FindAllStringSubmatch(page, -1) {
		fields.Set(html.UnescapeString(in[1]), html.UnescapeString(in[2]))
	}
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, target.String(), strings.NewReader(fields.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", base.Scheme+"://"+base.Host)
	return b.do(req)
}

// logIn follows an authorization request through quash's login page, first with a
// wrong password, and gives the address at which the client is called.
func logIn(t testing.TB, target string) string {
	t.Helper()
	b := newBrowser(t, callback)
	status, page := b.open(target)
	if status != http.StatusOK {
		t.Fatalf("login page: %d %s", status, page)
	}
	status, page = b.fill(target, page, url.Values{"username": {user}, "password": {"wrong"}})
	if b.landed != nil || !strings.Contains(page, "Error") {
		t.Fatalf("a wrong password: %d, landed at %v: %s", status, b.landed, page)
	}
	status, page = b.fill(target, page, url.Values{"username": {user}, "password": {password}})
	if b.landed == nil {
		t.Fatalf("the right password: %d %s", status, page)
	}
	return b.landed.String()
}
