package main

import (
	"net/http"
	"testing"
	"time"
)

// TestM1_ExactAnswers compares the answers of a real API node with the table of
// answers, byte for byte.
func TestM1_ExactAnswers(t *testing.T) {
	t.Parallel()
	const metadata = "https://api.example/.well-known/oauth-protected-resource"
	w := newWorld(t, withNode("--resource-metadata", metadata), withNode("--scope", "orders:read", "--scope", "orders:write"), withNode())
	lost := w.address() // a node that has never heard from NATS
	w.start(lost, "api", "--listen", lost, "--issuer", w.url, "--nats", "nats://127.0.0.1:1", "--log-level", "debug")
	w.eventually("the lost node answers", func() bool { return w.do(face{w, "http://" + lost}.request("GET", "/livez", "", "", "")).status == 200 })

	s := w.login("ann")
	f := w.forge(s.Access)
	type object = map[string]any
	revoked := f.token(object{"jti": "revoked-one"})
	if r := w.json("POST", "/admin/revocations", w.admin(), `{"scope":"token","key":"revoked-one","reason":"stolen device"}`); r.status != 200 {
		t.Fatalf("revoke: %s", r)
	}
	w.wants(0, revoked, 401)

	const (
		invalid = `Bearer realm="api", error="invalid_token", error_description=`
		request = `Bearer realm="api", error="invalid_request", error_description="The request must carry exactly one access token in one Authorization header"`
	)
	bearer := func(raw string) []string { return []string{"Bearer " + raw} }
	now := time.Now()
	for _, row := range []struct {
		name      string
		node      string
		path      string
		header    []string
		status    int
		challenge string
	}{
		{"a: nothing", w.node(0), "", nil, 401, `Bearer realm="api", resource_metadata="` + metadata + `"`},
		{"a: nothing, no metadata", w.node(2), "", nil, 401, `Bearer realm="api"`},
		{"a: another scheme", w.node(2), "", []string{"Basic YTpi"}, 401, `Bearer realm="api"`},
		{"a: in the query only", w.node(2), "?access_token=" + s.Access, nil, 401, `Bearer realm="api"`},
		{"b: two headers", w.node(0), "", []string{"Bearer " + s.Access, "Bearer " + s.Access}, 400, request},
		{"b: header and query", w.node(0), "?access_token=" + s.Access, bearer(s.Access), 400, request},
		{"b: nothing behind Bearer", w.node(0), "", bearer(""), 400, request},
		{"b: a space inside", w.node(0), "", bearer("a b"), 400, request},
		{"c: no JWS", w.node(0), "", bearer("abc"), 401, invalid + `"malformed"`},
		{"c: bad base64url", w.node(0), "", bearer("~~~.~~~.~~~"), 401, invalid + `"malformed"`},
		{"c: bad JSON", w.node(0), "", bearer("bm8.bm8.bm8"), 401, invalid + `"malformed"`},
		{"c: crit", w.node(0), "", bearer(f.head(object{"crit": []string{"x"}, "x": 1})), 401, invalid + `"malformed"`},
		{"d: alg none", w.node(0), "", bearer(f.head(object{"alg": "none"})), 401, invalid + `"signature"`},
		{"d: unknown key", w.node(0), "", bearer(f.head(object{"kid": "unknown"})), 401, invalid + `"signature"`},
		{"d: bad signature", w.node(0), "", bearer(s.Access[:len(s.Access)-8] + "AAAAAAAA"), 401, invalid + `"signature"`},
		{"e: typ", w.node(0), "", bearer(f.head(object{"typ": "JWT"})), 401, invalid + `"The access token is invalid"`},
		{"f: iss", w.node(0), "", bearer(f.token(object{"iss": w.url + "/"})), 401, invalid + `"The access token is invalid"`},
		{"g: no aud", w.node(0), "", bearer(f.token(object{"aud": nil})), 401, invalid + `"The access token is invalid"`},
		{"g: aud not ours", w.node(0), "", bearer(f.token(object{"aud": "other"})), 401, invalid + `"The access token is invalid"`},
		{"h: expired", w.node(0), "", bearer(f.token(object{"iat": now.Unix() - 600, "exp": now.Unix() - 60})), 401, invalid + `"The access token expired"`},
		{"h: not yet", w.node(0), "", bearer(f.token(object{"nbf": now.Unix() + 60})), 401, invalid + `"The access token is invalid"`},
		{"i: revoked", w.node(0), "", bearer(revoked), 401, invalid + `"The access token was revoked"`},
		{"j: no sub", w.node(0), "", bearer(f.token(object{"sub": nil})), 401, invalid + `"The access token is invalid"`},
		{"j: lives too long", w.node(0), "", bearer(f.token(object{"exp": now.Unix() + 7200})), 401, invalid + `"The access token is invalid"`},
		{"k: no scope", w.node(1), "", bearer(s.Access), 403, `Bearer realm="api", error="insufficient_scope", scope="orders:read orders:write"`},
		{"k: half of it", w.node(1), "", bearer(f.token(object{"scope": "orders:read"})), 403, `Bearer realm="api", error="insufficient_scope", scope="orders:read orders:write"`},
		{"n: bound to a key", w.node(0), "", bearer(f.token(object{"cnf": object{"jkt": "x"}})), 401, invalid + `"The access token is invalid"`},
		{"p: never synced", "http://" + lost, "", bearer(s.Access), 503, ""},
		{"p: never synced, no token", "http://" + lost, "", nil, 401, `Bearer realm="api"`},
		{"good", w.node(0), "", bearer(s.Access), 200, ""},
		{"good, scheme in lower case", w.node(0), "", []string{"bearer " + s.Access}, 200, ""},
		{"good, with scope", w.node(1), "", bearer(f.token(object{"scope": "x orders:write orders:read"})), 200, ""},
	} {
		req, err := http.NewRequest("GET", row.node+"/secure"+row.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header["Authorization"] = row.header
		r := w.do(req)
		got := r.header.Values("WWW-Authenticate")
		want := 1
		if row.challenge == "" {
			want = 0
		}
		if r.status != row.status || len(got) != want || want == 1 && got[0] != row.challenge {
			t.Errorf("%s: got %d %q %s, want %d %q", row.name, r.status, got, r.err, row.status, row.challenge)
		}
		if r.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: got Cache-Control %q, want no-store", row.name, r.header.Get("Cache-Control"))
		}
		if after := r.header.Get("Retry-After"); (after != "") != (row.status == 503) {
			t.Errorf("%s: got Retry-After %q", row.name, after)
		}
		if r.status != 200 && r.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: got Content-Type %q", row.name, r.header.Get("Content-Type"))
		}
	}
}
