package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAdminErrors: each refusal is one line that says what to do, and holds no secret.
func TestAdminErrors(t *testing.T) {
	t.Parallel()
	const secret = "hush-4711"
	var status int
	var body, after string
	asked := ""
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked += r.Method + " " + r.URL.Path + "\n"
		if r.URL.Path == "/auth/login" && status != 0 {
			if after != "" {
				w.Header().Set("Retry-After", after)
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
			return
		}
		if r.URL.Path == "/auth/logout" {
			return
		}
		_, _ = w.Write([]byte(`{"access_token":"abc"}`))
	}))
	defer web.Close()
	admin, client, empty := "root:"+secret, "fraud:"+secret, ":"
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, c := range []struct {
		what        string
		flags       adminFlags
		status      int
		after, body string
		want        string
		usage       bool
	}{
		{what: "nobody", flags: adminFlags{}, want: "--admin: is missing", usage: true},
		{what: "no password", flags: adminFlags{Admin: &empty}, want: "must be NAME:PASSWORD", usage: true},
		{what: "no secret", flags: adminFlags{AsClient: &empty}, want: "must be ID:SECRET", usage: true},
		{what: "no file", flags: adminFlags{TokenFile: "/does/not/exist"}, want: "--token-file", usage: true},
		{what: "no URL", flags: adminFlags{Admin: &admin, Issuer: "issuer"}, want: "is not a URL", usage: true},
		{what: "in clear", flags: adminFlags{Admin: &admin, Issuer: "http://issuer.example"}, want: "in clear", usage: true},
		{what: "nobody there", flags: adminFlags{Admin: &admin, Issuer: "http://127.0.0.1:1"}, want: "no answer from the issuer at http://127.0.0.1:1"},
		{what: "another server", flags: adminFlags{Admin: &admin}, status: 404, body: "<html>", want: "does not answer like a quash issuer"},
		{what: "another answer", flags: adminFlags{Admin: &admin}, status: 200, body: "<html>", want: "does not answer like a quash issuer"},
		{what: "an empty answer", flags: adminFlags{Admin: &admin}, status: 200, body: "{}", want: "does not answer like a quash issuer"},
		{what: "a redirect", flags: adminFlags{Admin: &admin}, status: 307, body: "", want: "does not answer like a quash issuer"},
		{what: "wrong password", flags: adminFlags{Admin: &admin}, status: 401, body: `{"error":"invalid_credentials"}`, want: "--admin: wrong name or password"},
		{what: "disabled", flags: adminFlags{Admin: &admin}, status: 403, body: `{"error":"access_denied","error_description":"the account is disabled"}`, want: "--admin: the account is disabled"},
		{what: "throttled", flags: adminFlags{Admin: &admin}, status: 429, after: "7", body: `{"error":"temporarily_unavailable"}`, want: "too many attempts, nothing was done: try again in 7 s"},
		{what: "unavailable", flags: adminFlags{Admin: &admin}, status: 503, after: "2", body: `the issuer is not open yet`, want: "cannot do this now: try again in 2 s"},
		{what: "escape", flags: adminFlags{Admin: &admin}, status: 400, body: `{"error":"x","error_description":"a\u001b[2Jb"}`, want: "a\ufffd[2Jb"},
	} {
		status, body, after, asked = c.status, c.body, c.after, ""
		if c.flags.Issuer == "" {
			c.flags.Issuer = web.URL + "/auth/"
		}
		a, err := c.flags.open(ctx)
		if err == nil {
			a.close()
			t.Errorf("%s: got no error, want %q", c.what, c.want)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %q, want %q", c.what, err, c.want)
		}
		if usage := (*usageError)(nil); errors.As(err, &usage) != c.usage {
			t.Errorf("%s: got %v, want a usage error: %v", c.what, err, c.usage)
		}
	}
	status = 0
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("abc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		flags adminFlags
		want  string
	}{
		{adminFlags{Admin: &admin}, "POST /auth/login\nGET /auth/x\nPOST /auth/logout\n"},
		{adminFlags{AsClient: &client}, "POST /auth/token\nGET /auth/x\n"},
		{adminFlags{TokenFile: file}, "GET /auth/x\n"},
	} {
		asked, c.flags.Issuer = "", web.URL+"/auth"
		a, err := c.flags.open(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var out struct {
			Token string `json:"access_token"`
		}
		if err := a.do(ctx, "GET", "/x", nil, nil, &out); err != nil || out.Token != "abc" || a.token != "abc" {
			t.Errorf("%s: got %v %+v", a.how, err, out)
		}
		a.close()
		if asked != c.want {
			t.Errorf("%s: asked %q, want %q", a.how, asked, c.want)
		}
	}
}
