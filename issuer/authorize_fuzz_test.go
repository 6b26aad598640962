package issuer_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/quash-auth/quash/issuer"
)

// FuzzRedirect: what is accepted without being registered is a loopback address with another port, for net/url and for a browser
// that takes backslashes for slashes.
func FuzzRedirect(f *testing.F) {
	c := issuer.Client{RedirectURIs: []string{"https://shop.example/cb", "http://127.0.0.1/cb", "http://[::1]:8000/cb?x=1"}}
	for _, s := range append(c.RedirectURIs, "http://127.0.0.1:8080/cb", "http://127.0.0.1:80@evil.example/cb", "http://127.0.0.1:8\\@evil/cb", "http://[::1]:1/cb?x=1", "http://127.0.0.1:/cb") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		if !issuer.MayReturnTo(c, uri) || slices.Contains(c.RedirectURIs, uri) {
			return
		}
		u, err := url.Parse(strings.ReplaceAll(uri, `\`, "/"))
		if err != nil || u.User != nil || u.Fragment != "" || u.Port() == "0" ||
			!(u.Hostname() == "127.0.0.1" && u.RequestURI() == "/cb" || u.Hostname() == "::1" && u.RequestURI() == "/cb?x=1") {
			t.Errorf("accepted %q, which is %v %v", uri, u, err)
		}
	})
}

func FuzzAuthorization(f *testing.F) {
	r := start(f, server(f).URL(), applications)
	flow := newFlow()
	f.Add(flow.values().Encode())
	f.Add(flow.values("redirect_uri", "https://evil.example").Encode())
	f.Add(flow.values("prompt", "none").Encode() + "&state=2")
	f.Add(flow.values("code_challenge_method", "plain").Encode())
	f.Add("client_id=shop&redirect_uri=https://shop.example/cb&redirect_uri=x")
	f.Fuzz(func(t *testing.T, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		to, carried := issuer.ReadAuthorization(r.Issuer, values)
		registered := map[string]issuer.Client{}
		for _, c := range r.cfg.Clients {
			registered[c.ID] = c
		}
		c, known := registered[values.Get("client_id")]
		if to != "" && (!known || c.Disabled || !issuer.MayReturnTo(c, to) || len(values["redirect_uri"]) != 1 || len(values["client_id"]) != 1) {
			t.Errorf("%q: leads to %q", query, to)
		}
		if carried == nil {
			return
		}
		for _, name := range []string{"client_id", "redirect_uri", "state", "nonce", "code_challenge"} {
			if carried.Get(name) != values.Get(name) {
				t.Errorf("%q: the form carries %s %q", query, name, carried.Get(name))
			}
		}
		if again, same := issuer.ReadAuthorization(r.Issuer, carried); again != to || same.Encode() != carried.Encode() {
			t.Errorf("%q: the form is read as another request: %v", query, same)
		}
		if values.Get("response_type") != "code" || values.Get("code_challenge_method") != "S256" || values.Get("prompt") == "none" {
			t.Errorf("%q: accepted", query)
		}
	})
}
