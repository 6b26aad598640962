package issuer_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

func decode64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLoginAnswers(t *testing.T) {
	r := start(t, server(t).URL())
	r.user("ann", "read", "write")
	a := r.login("Ann")
	if a.Type != "Bearer" || a.Scope != "read write" || a.Refresh == "" || a.Sid == "" || a.ExpiresIn != 600 {
		t.Errorf("got %s, want a full token answer", a.raw)
	}
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("got headers %v, want no-store and application/json", a.header)
	}
	r.want("wrong password", r.tryLogin("ann", "x"), 401, "invalid_credentials")
	unknown, wrong := r.tryLogin("nobody", "x"), r.tryLogin("ann", "x")
	if unknown.status != wrong.status || unknown.raw != wrong.raw {
		t.Errorf("unknown user %d %s, wrong password %d %s: want the same words", unknown.status, unknown.raw, wrong.status, wrong.raw)
	}
	for what, body := range map[string]string{
		"empty": "", "array": "[]", "trailing": `{"username":"ann","password":"x"} x`, "number": `{"username":1,"password":"x"}`,
		"duplicate": `{"username":"ann","username":"bob","password":"x"}`, "case": `{"Username":"ann","password":"x"}`,
		"no password": `{"username":"ann"}`, "empty name": `{"username":"","password":"x"}`,
		"long": `{"username":"` + strings.Repeat("a", 257) + `","password":"x"}`, "utf8": "{\"username\":\"\xff\",\"password\":\"x\"}",
	} {
		r.want(what, r.do(r.request("POST", "/login", jsonType, body)), 400, "invalid_request")
	}
	good := `{"username":"ann","password":"` + password + `"}`
	r.want("form", r.do(r.request("POST", "/login", formType, good)), 415, "invalid_request")
	r.want("no type", r.do(r.request("POST", "/login", "", good)), 415, "invalid_request")
	r.want("charset", r.do(r.request("POST", "/login", "application/json; charset=utf-8", good)), 200, "")
	r.want("large", r.do(r.request("POST", "/login", jsonType, `{"username":"`+strings.Repeat("a", 70_000)+`"}`)), 413, "invalid_request")
	r.want("unknown client", r.do(r.request("POST", "/login", jsonType, `{"username":"ann","password":"x","client_id":"nope"}`)), 400, "invalid_client")
	get := r.do(r.request("GET", "/login", "", ""))
	r.want("GET", get, 405, "invalid_request")
	if get.header.Get("Allow") != "POST" {
		t.Errorf("GET: got Allow %q, want POST", get.header.Get("Allow"))
	}
	r.want("nowhere", r.do(r.request("POST", "/nowhere", "", "")), 404, "invalid_request")
}

func TestTokenAnswers(t *testing.T) {
	secret := issuer.NewSecret() + "+/ %"
	r := start(t, server(t).URL(), func(c *issuer.Config) {
		c.Clients = []issuer.Client{{ID: "app", Public: true, Scopes: []string{"read", "write"}},
			{ID: "web 1", SecretHash: issuer.HashSecret(secret), Audience: []string{"https://web.example", "https://two.example"}}}
		c.Clients[1].ID = "web"
	})
	r.user("ann", "read", "write", "delete")
	s := r.login("ann")
	if s.Scope != "read write" {
		t.Errorf("got scope %q, want what user and client share", s.Scope)
	}
	r.want("no grant type", r.form("/token", "refresh_token", s.Refresh), 400, "invalid_request")
	r.want("password grant", r.form("/token", "grant_type", "password", "username", "ann", "password", password), 400, "unsupported_grant_type")
	r.want("no token", r.form("/token", "grant_type", "refresh_token"), 400, "invalid_request")
	r.want("empty token", r.form("/token", "grant_type", "refresh_token", "refresh_token", ""), 400, "invalid_request")
	r.want("repeated", r.do(r.request("POST", "/token", formType, "grant_type=refresh_token&grant_type=refresh_token&refresh_token="+s.Refresh)), 400, "invalid_request")
	r.want("in the query", r.do(r.request("POST", "/token?refresh_token="+s.Refresh, formType, "grant_type=refresh_token")), 400, "invalid_request")
	r.want("JSON", r.do(r.request("POST", "/token", jsonType, "{}")), 400, "invalid_request")
	r.want("more scope", r.form("/token", "grant_type", "refresh_token", "refresh_token", s.Refresh, "scope", "read delete"), 400, "invalid_scope")
	r.want("another client", r.form("/token", "grant_type", "refresh_token", "refresh_token", s.Refresh, "client_id", "web"), 400, "invalid_client")
	r.want("another client, secret in the body", r.form("/token", "grant_type", "refresh_token", "refresh_token", s.Refresh, "client_id", "web", "client_secret", secret), 400, "invalid_grant")
	less := r.form("/token", "grant_type", "refresh_token", "refresh_token", s.Refresh, "scope", "read", "client_id", "app")
	if less.status != 200 || less.Scope != "read" || claim(t, less.Access, "scope") != "read" {
		t.Fatalf("less scope: got %d %s, want 200 and read", less.status, less.raw)
	}
	if s = r.refresh(less.Refresh); s.Scope != "read write" {
		t.Errorf("after less scope: got %q, want the refresh token's own scope again (RFC 6749 §6)", s.Scope)
	}

	basic := func(path, kind, body, id, pass string) answer {
		req := r.request("POST", path, kind, body)
		req.SetBasicAuth(id, pass)
		return r.do(req)
	}
	escaped := strings.NewReplacer("+", "%2B", "/", "%2F", " ", "+", "%", "%25").Replace(secret)
	login := `{"username":"ann","password":"` + password + `","client_id":"web"}`
	r.want("confidential client without its secret", r.do(r.request("POST", "/login", jsonType, login)), 400, "invalid_client")
	w := basic("/login", jsonType, login, "web", escaped)
	if w.status != 200 || w.Scope != "read write delete" {
		t.Fatalf("confidential client: got %d %s, want 200", w.status, w.raw)
	}
	if aud := claims(t, w.Access)["aud"]; !reflect.DeepEqual(aud, []any{"https://web.example", "https://two.example"}) {
		t.Errorf("got aud %v, want the client's", aud)
	}
	body := "grant_type=refresh_token&refresh_token=" + w.Refresh
	r.want("its token without authentication", r.do(r.request("POST", "/token", formType, body)), 400, "invalid_grant")
	r.want("its token with a wrong secret", basic("/token", formType, body, "web", "no"), 401, "invalid_client")
	r.want("its token by another client", basic("/token", formType, body, "app", ""), 400, "invalid_grant")
	r.want("its token", basic("/token", formType, body, "web", escaped), 200, "")
}

func TestAdminAnswers(t *testing.T) {
	r := start(t, server(t).URL())
	r.user("root", issuer.ScopeAdmin)
	u := r.user("ann")
	admin, s := r.login("root"), r.login("ann")
	before := len(r.statements())
	const good = `{"scope":"session","key":"x"}`
	r.want("no token", r.do(r.request("POST", "/admin/revocations", jsonType, good)), 401, "invalid_token")
	none := r.do(r.request("POST", "/admin/revocations", jsonType, good))
	if c := none.header.Get("WWW-Authenticate"); c != `Bearer realm="quash"` {
		t.Errorf("no token: got challenge %q, want no error in it (RFC 6750 §3.1)", c)
	}
	r.want("rubbish", r.bearer("/admin/revocations", "rubbish", good), 401, "invalid_token")
	small := r.bearer("/admin/revocations", s.Access, good)
	r.want("no admin", small, 403, "insufficient_scope")
	if c := small.header.Get("WWW-Authenticate"); !strings.Contains(c, `scope="quash.admin"`) {
		t.Errorf("no admin: got challenge %q, want the scope", c)
	}
	r.want("two tokens in one header", r.bearer("/admin/revocations", "a b", good), 400, "invalid_request")
	twice := r.request("POST", "/admin/revocations", jsonType, good)
	twice.Header["Authorization"] = []string{"Bearer " + admin.Access, "Bearer " + admin.Access}
	r.want("two headers", r.do(twice), 400, "invalid_request")
	for name, body := range map[string]string{
		"scope":   `{"key":"x"}`,
		"scope: ": `{"scope":"everything","key":"x"}`,
		"key":     `{"scope":"session"}`,
		"until":   `{"scope":"session","key":"x","until":"tomorrow"}`,
		"until: ": `{"scope":"session","key":"x","until":1}`,
		"gen":     `{"scope":"subject","key":"x","gen":-1}`,
		"gen: ":   `{"scope":"session","key":"x","gen":2}`,
		"member":  `{"scope":"session","key":"x","sub":"y"}`,
		"strict":  `{"scope":"session","scope":"subject","key":"x"}`,
	} {
		a := r.bearer("/admin/revocations", admin.Access, body)
		r.want(body, a, 400, "invalid_request")
		if !strings.Contains(a.Description, strings.Trim(name, ": ")) {
			t.Errorf("%s: got %q, want the field %s named", body, a.Description, name)
		}
		if strings.ContainsAny(a.Description, `"\`) {
			t.Errorf("%s: got %q, want only characters of RFC 6749 §5.2", body, a.Description)
		}
	}
	login := r.do(r.request("POST", "/login", jsonType, `{"username":"ann","password":7}`))
	if r.want("a number as a password", login, 400, "invalid_request"); !strings.Contains(login.Description, "password: must be a string") {
		t.Errorf("got %q, want the member named", login.Description)
	}
	if n := len(r.statements()); n != before {
		t.Errorf("got %d statements from refused requests, want none", n-before)
	}
	a := r.bearer("/admin/revocations", admin.Access, `{"scope":"subject","key":"`+u.Sub+`","gen":7,"txn":"case 4711"}`)
	r.want("gen", a, 200, "")
	last := r.statements()[len(r.statements())-1]
	if last.Gen != 7 || last.Txn != "case 4711" || last.ID != a.ID {
		t.Errorf("got %+v, want gen 7 and the txn", last)
	}
	if g := claimNumber(t, r.login("ann").Access, "gen"); g != 7 {
		t.Errorf("the next login: got gen %v, want 7", g)
	}
	r.want("logout", r.bearer("/logout", admin.Access, ""), 200, "")
	r.want("a revoked admin", r.bearer("/admin/revocations", admin.Access, good), 401, "invalid_token")
}

// TestAccessToken checks the profile of RFC 9068 with another library and the published key set.
func TestAccessToken(t *testing.T) {
	for _, alg := range []string{"ES256", "RS256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			r := start(t, server(t).URL(), func(c *issuer.Config) { c.Algorithm = alg })
			u := r.user("ann", "read")
			before := float64(time.Now().Unix())
			s := r.login("ann")
			res, err := http.Get(r.url + "/.well-known/jwks.json")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			text, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), `"d"`) || !strings.Contains(res.Header.Get("Cache-Control"), "max-age") {
				t.Errorf("key set: got %s with %v, want public members only and a max-age", text, res.Header)
			}
			var set jose.JSONWebKeySet
			if err := json.Unmarshal(text, &set); err != nil {
				t.Fatal(err)
			}
			jws, err := jose.ParseSignedCompact(s.Access, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
			if err != nil {
				t.Fatal(err)
			}
			h := jws.Signatures[0].Protected
			keys := set.Key(h.KeyID)
			if len(keys) != 1 || keys[0].Use != "sig" || keys[0].Algorithm != alg || h.ExtraHeaders["typ"] != "at+jwt" {
				t.Fatalf("got header %+v and keys %+v, want typ at+jwt and one key of that kid", h, keys)
			}
			payload, err := jws.Verify(keys[0].Key)
			if err != nil {
				t.Fatal(err)
			}
			var c map[string]any
			if err := json.Unmarshal(payload, &c); err != nil {
				t.Fatal(err)
			}
			now := float64(time.Now().Unix())
			iat, _ := c["iat"].(float64)
			if iat > now || iat < before || c["exp"] != iat+600 || c["auth_time"] != iat {
				t.Errorf("got times %v, want iat now, exp 600 s later, auth_time at the login", c)
			}
			delete(c, "iat")
			delete(c, "exp")
			delete(c, "auth_time")
			if jti, _ := c["jti"].(string); len(jti) < 16 {
				t.Errorf("got jti %q, want a long random one", jti)
			}
			delete(c, "jti")
			want := map[string]any{"iss": iss, "sub": u.Sub, "aud": "https://api.example", "client_id": "quash", "sid": s.Sid, "gen": 1.0, "scope": "read"}
			if !reflect.DeepEqual(c, want) {
				t.Errorf("got %v, want %v", c, want)
			}
		})
	}
}

func TestMetadata(t *testing.T) {
	r := start(t, server(t).URL())
	host := strings.TrimSuffix(r.url, "/auth")
	var docs []string
	for _, path := range []string{"/.well-known/oauth-authorization-server/auth", "/auth/.well-known/openid-configuration"} {
		res, err := http.Get(host + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/json" {
			t.Fatalf("%s: got %d %s %v", path, res.StatusCode, text, err)
		}
		docs = append(docs, string(text))
	}
	if docs[0] != docs[1] {
		t.Errorf("got %s and %s, want the same", docs[0], docs[1])
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(docs[0]), &m); err != nil {
		t.Fatal(err)
	}
	if m["issuer"] != iss {
		t.Errorf("got issuer %v, want %s", m["issuer"], iss)
	}
	for name, v := range m {
		if !strings.HasSuffix(name, "_endpoint") && name != "jwks_uri" {
			continue
		}
		path, ok := strings.CutPrefix(v.(string), iss)
		if !ok {
			t.Errorf("%s: got %v, want it under the issuer", name, v)
			continue
		}
		res, err := http.Get(r.url + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode == 404 {
			t.Errorf("%s: %v does not exist", name, v)
		}
	}
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	nats := server(t)
	c := &clock{}
	r := start(t, nats.URL(), func(cfg *issuer.Config) { cfg.Now, cfg.MaxStaleness = c.now, 5*time.Minute })
	host := strings.TrimSuffix(r.url, "/auth")
	get := func(path string) answer {
		req, err := http.NewRequest("GET", host+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r.do(req)
	}
	r.want("ready", get("/readyz"), 200, "")
	r.want("alive", get("/livez"), 200, "")
	if rep := r.Report(); rep.Role != "issuer" || rep.Node != "test" || !rep.Ready || !rep.Synced {
		t.Errorf("got report %+v, want a ready issuer", rep)
	}
	answers, err := events.AskFleet(t.Context(), nats.Connect(t), events.Question{Expect: []string{"test"}, Quiet: deadline})
	if err != nil || len(answers) != 1 || answers[0].Node != "test" {
		t.Errorf("fleet: got %+v %v, want this node", answers, err)
	}
	r.user("ann")
	s := r.login("ann")
	nats.Stop()
	until(t, "not ready", func() bool { return get("/readyz").status == 503 })
	r.want("alive without NATS", get("/livez"), 200, "")
	c.advance(6 * time.Minute)
	if got := r.Report().Staleness; got <= r.cfg.MaxStaleness {
		t.Errorf("nothing was heard for six minutes: got a staleness of %v", got)
	}
	r.want("a good token while stale", r.bearer("/logout", s.Access, ""), 503, "temporarily_unavailable")
	c.advance(-6 * time.Minute)
	nats.Restart(t)
	r.ready()
	r.want("afterwards", r.bearer("/logout", s.Access, ""), 200, "")
}

func encode64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
