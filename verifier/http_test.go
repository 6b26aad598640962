package verifier_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier"
	"github.com/quash-auth/quash/verifier/verifiertest"
)

// guarded is a handler behind the middleware that answers with the token's subject.
func guarded(v *verifier.Verifier, c verifier.HTTPConfig) http.Handler {
	return v.Middleware(c)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := verifier.FromContext(r.Context())
		if !ok {
			fmt.Fprint(w, "nobody")
			return
		}
		fmt.Fprint(w, token.Subject)
	}))
}

func ask(h http.Handler, method string, headers ...string) *httptest.ResponseRecorder {
	return askAt(h, method, "/orders", headers...)
}

func askAt(h http.Handler, method, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://api.test"+path, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestM1_Middleware goes the whole way: real tokens, each spoiled for one row of the table.
func TestM1_Middleware(t *testing.T) {
	iss := verifiertest.New(t)
	other := verifiertest.New(t)
	iss.Revoke(events.Revocation{Scope: events.Token, Key: "gone"})
	h := guarded(iss.Verifier(), verifier.HTTPConfig{})
	const (
		realm     = `Bearer realm="api"`
		code      = realm + `, error="invalid_token", error_description=`
		malformed = code + `"malformed"`
		signature = code + `"signature"`
		invalid   = code + `"The access token is invalid"`
	)
	good := iss.Mint()
	if w := ask(h, "GET", "Authorization", "Bearer "+good); w.Code != 200 || w.Body.String() != "user-1" {
		t.Fatalf("a good token: got %d %q", w.Code, w.Body)
	}
	parts := strings.Split(good, ".")
	for _, tt := range []struct {
		row, name, token, challenge string
	}{
		{"c", "one word", "abc", malformed},
		{"c", "two parts", parts[0] + "." + parts[1], malformed},
		{"c", "not base64url", parts[0] + ".+" + parts[1] + "." + parts[2], malformed},
		{"c", "crit", iss.Mint(verifiertest.Header("crit", []string{"b64"})), malformed},
		{"d", "another key", other.Mint(), signature},
		{"d", "unknown kid", iss.Mint(verifiertest.Header("kid", "other")), signature},
		{"d", "payload of another token", parts[0] + "." + strings.Split(iss.Mint(verifiertest.Subject("eve")), ".")[1] + "." + parts[2], signature},
		{"e", "no typ", iss.Mint(verifiertest.Header("typ", nil)), invalid},
		{"e", "logout token", iss.Mint(verifiertest.Header("typ", "logout+jwt")), invalid},
		{"f", "issuer with a slash", iss.Mint(verifiertest.With("iss", verifiertest.IssuerURL+"/")), invalid},
		{"g", "audience", iss.Mint(verifiertest.Audience("https://other.test")), invalid},
		{"g", "no audience", iss.Mint(verifiertest.Without("aud")), invalid},
		{"h", "expired", iss.Mint(verifiertest.Age(10*time.Minute), verifiertest.Life(-5*time.Minute)), code + `"The access token expired"`},
		{"h", "not yet", iss.Mint(verifiertest.With("nbf", iss.Now().Add(3*time.Minute).Unix())), invalid},
		{"i", "revoked", iss.Mint(verifiertest.ID("gone")), code + `"The access token was revoked"`},
		{"j", "no jti", iss.Mint(verifiertest.Without("jti")), invalid},
		{"j", "too long", iss.Mint(verifiertest.Life(48 * time.Hour)), invalid},
	} {
		t.Run(tt.row+" "+tt.name, func(t *testing.T) {
			checkAnswer(t, ask(h, "GET", "Authorization", "Bearer "+tt.token), 401, tt.challenge)
		})
	}
	checkAnswer(t, ask(h, "GET"), 401, realm)
	checkAnswer(t, ask(h, "GET", "Authorization", "Basic YTpi"), 401, realm)
	broken := realm + `, error="invalid_request", error_description="The request must carry exactly one access token in one Authorization header"`
	checkAnswer(t, ask(h, "GET", "Authorization", "Bearer"), 400, broken)
	checkAnswer(t, ask(h, "GET", "Authorization", "Bearer "+good, "Authorization", "Bearer "+good), 400, broken)

	writer := guarded(iss.Verifier(), verifier.HTTPConfig{Scope: []string{"orders:write"}})
	checkAnswer(t, ask(writer, "GET", "Authorization", "Bearer "+good), 403, realm+`, error="insufficient_scope", scope="orders:write"`)
	allowed := iss.Mint(verifiertest.Scope("orders:read", "orders:write"))
	if w := ask(writer, "GET", "Authorization", "Bearer "+allowed); w.Code != 200 {
		t.Errorf("with the scope: got %d", w.Code)
	}
}

func TestM13_StaleIs503Never401(t *testing.T) {
	iss := verifiertest.New(t)
	h := guarded(iss.Verifier(), verifier.HTTPConfig{})
	lenient := guarded(iss.Verifier(), verifier.HTTPConfig{MaxStaleness: time.Minute, OnStale: verifier.Allow})
	bearer := "Bearer " + iss.Mint()
	iss.SetStale(true)
	checkAnswer(t, ask(h, "GET", "Authorization", bearer), 503, "")
	if w := ask(lenient, "GET", "Authorization", bearer); w.Code != 200 {
		t.Errorf("a handler whose policy is Allow: got %d, want 200", w.Code)
	}
	if w := ask(iss.Verifier().ReadyHandler(), "GET"); w.Code != 503 || !strings.Contains(w.Body.String(), `"ready":false,"reason":"`) {
		t.Errorf("readiness: got %d %s, want 503 with a reason", w.Code, w.Body)
	}
	iss.SetStale(false)
	if w := ask(h, "GET", "Authorization", bearer); w.Code != 200 {
		t.Errorf("after it has healed: got %d", w.Code)
	}
	w := ask(iss.Verifier().ReadyHandler(), "GET")
	var body struct{ Ready bool }
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != 200 || !body.Ready || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("readiness: got %d %s, %v", w.Code, w.Body, err)
	}
}

func TestCORS(t *testing.T) {
	iss := verifiertest.New(t)
	h := guarded(iss.Verifier(), verifier.HTTPConfig{})
	const expose = "Access-Control-Expose-Headers"
	preflight := []string{"Origin", "https://app.test", "Access-Control-Request-Method", "GET"}
	if w := ask(h, "OPTIONS", preflight...); w.Code != 204 || w.Body.Len() != 0 {
		t.Errorf("preflight: got %d %q, want 204 and not the handler", w.Code, w.Body)
	}
	cors := guarded(iss.Verifier(), verifier.HTTPConfig{Preflight: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "https://app.test")
	})})
	if w := ask(cors, "OPTIONS", preflight...); w.Code != 200 || w.Header().Get("Access-Control-Allow-Origin") == "" || w.Body.Len() != 0 {
		t.Errorf("preflight with a handler for it: got %d %v %q", w.Code, w.Header(), w.Body)
	}
	for _, headers := range [][]string{{}, {"Origin", "https://app.test"}, {"Access-Control-Request-Method", "GET"}} {
		if w := ask(h, "OPTIONS", headers...); w.Code != 401 {
			t.Errorf("OPTIONS with %q: got %d, want 401", headers, w.Code)
		}
	}
	if w := ask(h, "GET", "Origin", "https://app.test", "Access-Control-Request-Method", "GET"); w.Code != 401 || w.Header().Get(expose) != "WWW-Authenticate" {
		t.Errorf("with Origin: got %d and %q", w.Code, w.Header().Get(expose))
	}
	if w := ask(h, "GET"); w.Header().Get(expose) != "" {
		t.Errorf("without Origin: got %q", w.Header().Get(expose))
	}
}

// TestCookieFromPermittedOrigin: a page of a sibling or another host, if it is on the list.
func TestCookieFromPermittedOrigin(t *testing.T) {
	iss := verifiertest.New(t)
	h := guarded(iss.Verifier(), verifier.HTTPConfig{Cookie: "at", Origins: []string{"https://app.test", "http://localhost:3000"}})
	cookie := "at=" + iss.Mint()
	for _, tt := range []struct {
		headers []string
		want    int
	}{
		{[]string{"Sec-Fetch-Site", "same-site", "Origin", "https://app.test"}, 200},
		{[]string{"Sec-Fetch-Site", "cross-site", "Origin", "http://localhost:3000"}, 200},
		{[]string{"Origin", "https://app.test"}, 200},
		{[]string{"Sec-Fetch-Site", "same-origin"}, 200},
		{[]string{"Sec-Fetch-Site", "same-site", "Origin", "https://blog.test"}, 403},
		{[]string{"Sec-Fetch-Site", "same-site"}, 403},
		{[]string{"Origin", "http://app.test"}, 403},
		{[]string{"Origin", "https://app.test.evil.test"}, 403},
		{[]string{"Origin", "https://app.test", "Origin", "https://evil.test"}, 403},
		{[]string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Site", "cross-site", "Origin", "https://app.test"}, 403},
	} {
		if w := ask(h, "POST", append([]string{"Cookie", cookie}, tt.headers...)...); w.Code != tt.want {
			t.Errorf("%q: got %d, want %d", tt.headers, w.Code, tt.want)
		}
	}
}

func TestCookieNeedsSameOrigin(t *testing.T) {
	iss := verifiertest.New(t)
	h := guarded(iss.Verifier(), verifier.HTTPConfig{Cookie: "at"})
	cookie, bearer := "at="+iss.Mint(), "Bearer "+iss.Mint()
	for _, tt := range []struct {
		name, method string
		headers      []string
		want         int
	}{
		{"read", "GET", nil, 200},
		{"read from elsewhere", "GET", []string{"Sec-Fetch-Site", "cross-site"}, 200},
		{"no proof", "POST", nil, 403},
		{"same origin", "POST", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"sibling", "POST", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"elsewhere", "DELETE", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"elsewhere although Origin fits", "POST", []string{"Sec-Fetch-Site", "cross-site", "Origin", "http://api.test"}, 403},
		{"typed in", "POST", []string{"Sec-Fetch-Site", "none"}, 403},
		{"two proofs", "POST", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"}, 403},
		{"our Origin", "PUT", []string{"Origin", "http://api.test"}, 200},
		{"their Origin", "PUT", []string{"Origin", "https://evil.test"}, 403},
		{"their port", "PUT", []string{"Origin", "http://api.test:8080"}, 403},
		{"Origin null", "PATCH", []string{"Origin", "null"}, 403},
		{"WebSocket from elsewhere", "GET", []string{"Upgrade", "websocket", "Origin", "https://evil.test"}, 403},
		{"WebSocket of our pages", "GET", []string{"Upgrade", "websocket", "Origin", "http://api.test"}, 200},
		{"unknown method", "FROB", nil, 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := ask(h, tt.method, append([]string{"Cookie", cookie}, tt.headers...)...)
			if w.Code != tt.want {
				t.Errorf("cookie: got %d, want %d", w.Code, tt.want)
			}
			if w.Code == 403 {
				checkAnswer(t, w, 403, "")
			}
			if w := ask(h, tt.method, append([]string{"Authorization", bearer}, tt.headers...)...); w.Code != 200 {
				t.Errorf("header: got %d, want 200: a header proves itself", w.Code)
			}
		})
	}
	if w := ask(guarded(iss.Verifier(), verifier.HTTPConfig{}), "GET", "Cookie", cookie); w.Code != 401 {
		t.Errorf("a cookie nobody asked for: got %d, want 401", w.Code)
	}
}

// A configuration that was mistyped must refuse, not disable.
func TestPeerBug25_BrokenConfigLetsNothingThrough(t *testing.T) {
	iss := verifiertest.New(t)
	bearer := "Bearer " + iss.Mint()
	for _, tt := range []struct {
		field  string
		config verifier.HTTPConfig
	}{
		{"Realm", verifier.HTTPConfig{Realm: `a"b`}},
		{"Realm", verifier.HTTPConfig{Realm: `a\b`}},
		{"Realm", verifier.HTTPConfig{Realm: "é"}},
		{"ResourceMetadata", verifier.HTTPConfig{ResourceMetadata: "/.well-known/x"}},
		{"ResourceMetadata", verifier.HTTPConfig{ResourceMetadata: "http://api.example/x"}},
		{"ResourceMetadata", verifier.HTTPConfig{ResourceMetadata: `https://api.example/"`}},
		{"ResourceMetadata", verifier.HTTPConfig{ResourceMetadata: "https://api.example/#x"}},
		{"Scope", verifier.HTTPConfig{Scope: []string{""}}},
		{"Scope", verifier.HTTPConfig{Scope: []string{"a b"}}},
		{"Scope", verifier.HTTPConfig{Scope: []string{`a"`}}},
		{"Cookie", verifier.HTTPConfig{Cookie: "a b"}},
		{"Cookie", verifier.HTTPConfig{Cookie: "a;"}},
		{"Origins", verifier.HTTPConfig{Origins: []string{"https://a.test"}}},
		{"Origins", verifier.HTTPConfig{Cookie: "a", Origins: []string{"https://a.test/"}}},
		{"Origins", verifier.HTTPConfig{Cookie: "a", Origins: []string{"http://a.test"}}},
		{"Origins", verifier.HTTPConfig{Cookie: "a", Origins: []string{"https://A.test"}}},
		{"Origins", verifier.HTTPConfig{Cookie: "a", Origins: []string{"null"}}},
		{"Origins", verifier.HTTPConfig{Cookie: "a", Origins: []string{"*"}}},
		{"MaxStaleness", verifier.HTTPConfig{MaxStaleness: -1}},
		{"OnStale", verifier.HTTPConfig{OnStale: verifier.Allow}},
		{"OnStale", verifier.HTTPConfig{MaxStaleness: 1, OnStale: 7}},
	} {
		err := tt.config.Validate()
		if !errors.Is(err, verifier.ErrConfig) || !strings.Contains(err.Error(), "HTTPConfig."+tt.field+" ") {
			t.Errorf("%+v: got %v, want ErrConfig that names %s", tt.config, err, tt.field)
		}
		h := guarded(iss.Verifier(), tt.config)
		checkAnswer(t, ask(h, "GET", "Authorization", bearer), 500, "")
		checkAnswer(t, ask(h, "OPTIONS", "Origin", "https://app.test", "Access-Control-Request-Method", "GET"), 500, "")
	}
	var none *verifier.Verifier
	checkAnswer(t, ask(guarded(none, verifier.HTTPConfig{}), "GET", "Authorization", bearer), 500, "")
	for _, good := range []verifier.HTTPConfig{
		{}, {Realm: "my shop", Scope: []string{"a", "b:c/d"}, Cookie: "__Host-at", MaxStaleness: time.Second, OnStale: verifier.Allow,
			ResourceMetadata: "http://127.0.0.1:8081/.well-known/oauth-protected-resource"},
	} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
}

func TestOnErrorIsToldWhy(t *testing.T) {
	iss := verifiertest.New(t)
	var told []error
	h := guarded(iss.Verifier(), verifier.HTTPConfig{OnError: func(_ *http.Request, err error) { told = append(told, err) }})
	ask(h, "GET", "Authorization", "Bearer "+iss.Mint())
	ask(h, "GET")
	ask(h, "GET", "Authorization", "Bearer "+iss.Mint(verifiertest.Life(-time.Hour), verifiertest.Age(2*time.Hour)))
	if len(told) != 2 || !errors.Is(told[0], verifier.ErrMissing) || !errors.Is(told[1], verifier.ErrExpired) {
		t.Errorf("got %v, want ErrMissing and ErrExpired", told)
	}
}

// A socket that was opened with a good token is closed when the token is revoked.
func TestPeerBug23_OpenStreamEndsOnRevocation(t *testing.T) {
	iss := verifiertest.New(t)
	v := iss.Verifier()
	server := httptest.NewServer(v.Middleware(verifier.HTTPConfig{})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := verifier.FromContext(r.Context())
		ctx, cancel := v.Watch(r.Context(), token)
		defer cancel()
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: hello\n\n")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		<-ctx.Done()
	})))
	t.Cleanup(server.Close)
	r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+iss.Mint(verifiertest.Session("s-9")))
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buffer := make([]byte, 64)
	if n, err := resp.Body.Read(buffer); err != nil || string(buffer[:n]) != "data: hello\n\n" {
		t.Fatalf("got %q, %v", buffer[:n], err)
	}
	iss.Revoke(events.Revocation{Scope: events.Session, Key: "s-9"})
	if n, err := resp.Body.Read(buffer); err == nil {
		t.Errorf("got %q, want the end of the stream", buffer[:n])
	}
}
