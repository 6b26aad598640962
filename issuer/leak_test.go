package issuer_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Every issuer that a test of this package starts logs at level debug into a buffer too, and every secret that passes through its
// handlers is remembered, on the way in and on the way out. When it stops, its log may hold none of them: whatever path
// a test of today or tomorrow takes.

// known are the secrets of all tests: replicas see each other's.
var known = struct {
	sync.Mutex
	parts     map[string]string // secret part of a token, cookie or code: what it is
	passwords map[string]bool
}{parts: map[string]string{}, passwords: map[string]bool{password: true}}

var secretNames = []string{"access_token", "refresh_token", "id_token", "token", "code", "code_verifier", "client_secret", "secret"}

// remember keeps the part of a secret that makes it one.
func remember(kind, text string) {
	known.Lock()
	defer known.Unlock()
	if strings.Contains(kind, "password") {
		if len(text) >= 8 {
			known.passwords[text] = true
		}
		return
	}
	if part := text[strings.LastIndexByte(text, '.')+1:]; len(part) >= 20 {
		known.parts[part] = kind
	}
}

func rememberAll(body []byte, kind string) {
	if strings.HasPrefix(kind, formType) {
		form, _ := url.ParseQuery(string(body))
		for name, values := range form {
			for _, v := range values {
				if strings.Contains(name, "password") || slices.Contains(secretNames, name) {
					remember(name, v)
				}
			}
		}
		return
	}
	var members map[string]any
	_ = json.Unmarshal(body, &members)
	for name, v := range members {
		if text, ok := v.(string); ok && (strings.Contains(name, "password") || slices.Contains(secretNames, name)) {
			remember(name, text)
		}
	}
}

// watched remembers what passes through h.
func watched(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in bytes.Buffer
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(r.Body, &in), r.Body}
		out := &teeWriter{ResponseWriter: w}
		h.ServeHTTP(out, r)
		rememberAll(in.Bytes(), r.Header.Get("Content-Type"))
		rememberAll(out.body.Bytes(), "")
		if _, secret, ok := r.BasicAuth(); ok {
			remember("client_secret", secret)
		}
		for _, c := range r.Cookies() {
			remember("cookie", c.Value)
		}
		for _, line := range w.Header().Values("Set-Cookie") {
			if c, err := http.ParseSetCookie(line); err == nil {
				remember("cookie", c.Value)
			}
		}
		if to, err := url.Parse(w.Header().Get("Location")); err == nil {
			remember("code", to.Query().Get("code"))
		}
	})
}

type teeWriter struct {
	http.ResponseWriter
	body bytes.Buffer
}

func (w *teeWriter) Write(p []byte) (int, error) {
	w.body.Write(p)
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *teeWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

var logWord = regexp.MustCompile(`[A-Za-z0-9_-]{20,}`)

// leaks are the kinds of secrets in a log.
func leaks(text string) []string {
	words := logWord.FindAllString(text, -1)
	known.Lock()
	defer known.Unlock()
	var found []string
	for _, word := range words {
		if kind, ok := known.parts[word]; ok {
			found = append(found, kind)
		}
	}
	for p := range known.passwords {
		if strings.Contains(text, p) {
			found = append(found, "password")
		}
	}
	for _, sign := range []string{"argon2id$", "PRIVATE KEY", "sha256$"} {
		if strings.Contains(text, sign) {
			found = append(found, sign)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// alsoTo logs to l as well, from debug on.
func (l *logs) alsoTo(given *slog.Logger) *slog.Logger {
	mine := slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})
	if given == nil {
		return slog.New(mine)
	}
	return slog.New(slog.NewMultiHandler(given.Handler(), mine))
}

// TestNoSecretInAnyLog: the scan that every other test's issuer goes through finds what it is for.
func TestNoSecretInAnyLog(t *testing.T) {
	t.Parallel()
	l := &logs{}
	r := start(t, server(t).URL())
	r.user("ann")
	s := r.refresh(r.login("ann").Refresh)
	log := l.alsoTo(nil)
	log.Debug("nothing", "sid", s.Sid, "sub", "somebody")
	if found := leaks(l.String()); len(found) != 0 {
		t.Errorf("got %q of a log that is clean", found)
	}
	for kind, text := range map[string]string{"access_token": s.Access, "refresh_token": s.Refresh, "password": password,
		"PRIVATE KEY": "-----BEGIN PRIVATE KEY-----", "argon2id$": "$argon2id$v=19$", "code": "the-code-of-a-redirect"} {
		remember("code", "the-code-of-a-redirect")
		l := &logs{}
		l.alsoTo(nil).Debug("leak", "here", "x "+text+" x")
		if found := leaks(l.String()); !slices.Equal(found, []string{kind}) {
			t.Errorf("got %q of a log that holds one %s", found, kind)
		}
	}
	for body, kind := range map[string]string{`{"new_password":"my new password"}`: "application/json", "token=a.bbbbbbbbbbbbbbbbbbbbbbbb": formType} {
		before := len(leaks("my new password bbbbbbbbbbbbbbbbbbbbbbbb"))
		rememberAll([]byte(body), kind)
		if after := len(leaks("my new password bbbbbbbbbbbbbbbbbbbbbbbb")); after != before+1 {
			t.Errorf("%s is not remembered", body)
		}
	}
}
