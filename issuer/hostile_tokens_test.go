package issuer_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/url"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// forgeries of a token by somebody who has a real one of an ordinary user and the published keys.
func forgeries(t *testing.T, r *rig, real string) map[string]string {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(real, ".")
	kid := issuer.KeyID(r.Issuer, real)
	better := claimsOf(t, real)
	better["scope"], better["sid"] = issuer.ScopeAdmin, "AAAAAAAAAAAAAAAAAAAAAA"
	keys := r.do(r.request("GET", "/.well-known/jwks.json", "", "")).raw
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal([]byte(keys), &set); err != nil || len(set.Keys) == 0 {
		t.Fatalf("keys: %v", err)
	}
	b64 := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	signed := func(method jwt.SigningMethod, key any, change map[string]any) string {
		token := jwt.NewWithClaims(method, better)
		token.Header["typ"], token.Header["kid"] = "at+jwt", kid
		maps.Copy(token.Header, change)
		for name, v := range token.Header {
			if v == nil {
				delete(token.Header, name)
			}
		}
		text, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	header := func(alg string) string { return b64(map[string]any{"alg": alg, "kid": kid, "typ": "at+jwt"}) }
	out := map[string]string{
		"nothing signed":            header("none") + "." + b64(better) + ".",
		"nothing signed, by case":   header("NoNe") + "." + b64(better) + ".",
		"none with a signature":     header("none") + "." + b64(better) + "." + parts[2],
		"the key set as a secret":   signed(jwt.SigningMethodHS256, []byte(keys), nil),
		"a key as a secret":         signed(jwt.SigningMethodHS256, []byte(set.Keys[0]), nil),
		"the kid as a secret":       signed(jwt.SigningMethodHS256, []byte(kid), nil),
		"a key of his own":          signed(jwt.SigningMethodES256, own, nil),
		"his key in the header":     signed(jwt.SigningMethodES256, own, map[string]any{"jwk": map[string]any{"kty": "EC", "crv": "P-256", "x": base64.RawURLEncoding.EncodeToString(own.X.FillBytes(make([]byte, 32))), "y": base64.RawURLEncoding.EncodeToString(own.Y.FillBytes(make([]byte, 32)))}}),
		"his keys behind a URL":     signed(jwt.SigningMethodES256, own, map[string]any{"jku": "https://evil.example/jwks.json", "kid": "evil"}),
		"a path as a kid":           signed(jwt.SigningMethodES256, own, map[string]any{"kid": "../" + kid}),
		"no kid":                    signed(jwt.SigningMethodES256, own, map[string]any{"kid": nil}),
		"other claims":              parts[0] + "." + b64(better) + "." + parts[2],
		"a signature of zeros":      parts[0] + "." + b64(better) + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64)),
		"no signature":              parts[0] + "." + parts[1] + ".",
		"another header":            header("ES256") + "." + parts[1] + "." + parts[2] + "AA",
		"a header that must be met": b64(map[string]any{"alg": "ES256", "kid": kid, "typ": "at+jwt", "crit": []string{"b64"}, "b64": false}) + "." + parts[1] + "." + parts[2],
		"padding":                   real + "==",
		"a line break":              parts[0] + "." + parts[1] + "\n." + parts[2],
		"four parts":                real + "." + parts[2],
		"two parts":                 parts[0] + "." + parts[1],
		"JSON":                      `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"a long one":                strings.Repeat("a", 17<<10),
	}
	// Bits of the last character that carry nothing: the same bytes by another text.
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, real[len(real)-1])
	out["another text of the same bytes"] = real[:len(real)-1] + string(alphabet[last^1])
	return out
}

// TestHostile_Tokens: what was not signed as it is opens nothing, ends nothing and says nothing.
func TestHostile_Tokens(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL(), func(c *issuer.Config) { c.Clients = append(gateways(), issuer.Client{ID: "quash", Public: true}) })
	r.user("root", issuer.ScopeAdmin)
	r.user("ann", "read")
	s := r.login("ann")
	for what, token := range forgeries(t, r, s.Access) {
		for _, path := range []string{"/sessions", "/admin/users", "/admin/keys", "/userinfo"} {
			req := r.request("GET", path, "", "")
			req.Header.Set("Authorization", "Bearer "+strings.ReplaceAll(token, "\n", ""))
			if what == "a line break" {
				req.Header.Set("Authorization", "Bearer "+strings.ReplaceAll(token, "\n", " "))
			}
			if a := r.do(req); a.status != 401 && a.status != 400 {
				t.Errorf("%s at %s: got %d %s", what, path, a.status, a.raw)
			}
		}
		r.inactive(what, "web", token)
		r.want(what+": exchange", r.exchangeToken("gate", token), 400, "invalid_request")
		r.want(what+": revoke", r.do(r.request("POST", "/revoke", formType, "client_id=app&token="+url.QueryEscape(token))), 200, "")
	}
	if n := len(r.statements()); n != 0 {
		t.Errorf("%d statements were published for forged tokens", n)
	}
	r.alive("the real one", s.Access)
}

// TestHostile_Scopes: nobody gets a scope that he has not, at whatever endpoint he asks.
func TestHostile_Scopes(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL(), applications, func(c *issuer.Config) {
		c.Clients = append(c.Clients, gateways()...)
		c.Clients = append(c.Clients, confidential("ops", func(c *issuer.Client) {
			c.Grants, c.Scopes = []string{credentials}, []string{issuer.ScopeRevoke}
		}))
	})
	bob := r.user("bob", "read")
	r.user("root", issuer.ScopeAdmin)
	s := r.loginAs("bob", "app", "")
	for _, scope := range []string{issuer.ScopeAdmin, "read " + issuer.ScopeAdmin, "read " + issuer.ScopeOnce, "write", "*"} {
		r.want("refresh for "+scope, r.form("/token", "grant_type", "refresh_token", "refresh_token", s.Refresh, "client_id", "app", "scope", scope), 400, "invalid_scope")
		r.want("exchange for "+scope, r.exchangeToken("gate", s.Access, "scope", scope), 400, "invalid_scope")
	}
	job := r.as("ops", "/token", "grant_type", credentials, "scope", issuer.ScopeAdmin)
	r.want("a system asks for more", job, 400, "invalid_scope")
	ops := r.as("ops", "/token", "grant_type", credentials).Access
	admin := r.loginAs("root", "app", "").Access
	once := r.once(admin, "username", "bob", "scope", "read")
	for what, token := range map[string]string{"a user": s.Access, "a system": ops, "a one-time token": once.Access, "a refresh token": s.Refresh} {
		for _, ask := range []struct{ method, path, body string }{
			{"GET", "/admin/users", ""}, {"GET", "/admin/keys", ""}, {"GET", "/admin/sessions?client_id=app", ""}, {"GET", "/admin/users/" + bob.Sub, ""},
			{"POST", "/admin/users", `{"username":"evil","password":"0123456789","scopes":["quash.admin"]}`},
			{"POST", "/admin/users/" + bob.Sub + "/scopes", `{"scopes":["quash.admin"]}`},
			{"POST", "/admin/users/" + bob.Sub + "/password", `{"password":"0123456789"}`},
			{"POST", "/admin/users/" + bob.Sub + "/enable", `{}`}, {"POST", "/admin/keys/rotate", `{}`},
			{"POST", "/admin/keys/" + issuer.KeyID(r.Issuer, admin) + "/retire", `{}`},
			{"POST", "/admin/one-time", `{"username":"bob","scope":"read"}`},
			{"POST", "/admin/revocations", `{"scope":"issuer","key":"","reason":"x","confirm":"` + iss + `"}`},
			{"POST", "/admin/revocations", `{"scope":"client","key":"app","reason":"x","confirm":"app"}`},
			{"POST", "/admin/revocations", `{"scope":"subject","key":"` + bob.Sub + `","gen":9}`},
		} {
			kind := ""
			if ask.body != "" {
				kind = jsonType
			}
			req := r.request(ask.method, ask.path, kind, ask.body)
			req.Header.Set("Authorization", "Bearer "+token)
			if a := r.do(req); a.status != 401 && a.status != 403 {
				t.Errorf("%s: %s %s: got %d %s, want 401 or 403", what, ask.method, ask.path, a.status, a.raw)
			}
		}
	}
	if n := len(r.statements()); n != 0 {
		t.Errorf("%d statements were published", n)
	}
	r.alive("the operator's token", admin)
	if got, err := r.Users().Get(within(t), bob.Sub); err != nil || len(got.Scopes) != 1 {
		t.Errorf("bob: got %v %v, want his one scope", got.Scopes, err)
	}
}

// TestHostile_SessionsOfOthers: nobody ends or sees the session of somebody else, also not by an identifier of its family.
func TestHostile_SessionsOfOthers(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL(), withCookies)
	r.user("ann")
	r.user("bob")
	b := r.tab()
	first := b.login("ann")
	b.refresh()
	last := b.refresh()
	bob := r.login("bob").Access
	for what, sid := range map[string]string{"hers": last.Sid, "one that she had": first.Sid, "an invented one of her family": last.Sid[:12] + "AAAAAAAAAA",
		"a pattern": "*", "her family": last.Sid[:12], "a path": "..%2f" + last.Sid} {
		r.want("DELETE "+what, r.with("DELETE", "/sessions/"+sid, bob), 404, "invalid_request")
	}
	for _, query := range []string{"?cursor=9223372036854775807", "?cursor=-1", "?cursor=18446744073709551616", "?limit=1000000", "?limit=0", "?sub=*", "?cursor=1&cursor=2"} {
		if a := r.with("GET", "/sessions"+query, bob); a.status != 400 && (a.status != 200 || strings.Contains(a.raw, last.Sid)) {
			t.Errorf("GET /sessions%s: got %d %s", query, a.status, a.raw)
		}
	}
	if n := r.published(events.Session, last.Sid); n != 0 {
		t.Errorf("%d statements about her session", n)
	}
	b.got("she goes on", b.refresh())
}
