package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// secret is something that no log and no stored message may hold.
type secret struct {
	kind  string
	forms []string // in which it would give itself away
	shown bool     // quash up shows it, once, to whoever started it; not in its log
}

// secret remembers one. What is too short would be found by chance.
func (w *world) secret(kind, text string) {
	w.t.Helper()
	if text == "" {
		return
	}
	if len(text) < 8 {
		w.t.Errorf("%s: too short to be looked for", kind)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.secrets[text]; known {
		return
	}
	s := secret{kind: kind}
	// The last part of a token is what makes it one: its signature, or the secret
	// behind the session's ID.
	core := text[strings.LastIndexByte(text, '.')+1:]
	if len(core) < 16 {
		core = text
	}
	for _, form := range []string{core, url.QueryEscape(core), fmt.Sprintf("%q", core), base64.StdEncoding.EncodeToString([]byte(text)),
		base64.RawURLEncoding.EncodeToString([]byte(text))} {
		form = strings.Trim(form, `"=`)
		if !slices.Contains(s.forms, form) {
			s.forms = append(s.forms, form)
		}
	}
	w.secrets[text] = s
}

// shown permits quash up's greeting to hold a secret.
func (w *world) shown(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.secrets[text]
	s.shown = true
	w.secrets[text] = s
}

// secretMembers of an answer are remembered wherever they stand in it.
var secretMembers = []string{"access_token", "refresh_token", "id_token", "token", "code", "password", "client_secret", "secret", "registration_access_token"}

// learn remembers what an answer gives away.
func (w *world) learn(r reply) {
	w.t.Helper()
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, member := range v {
				if text, ok := member.(string); ok && len(text) >= 8 && slices.Contains(secretMembers, name) {
					w.secret(name, text)
				}
				walk(member)
			}
		case []any:
			for _, member := range v {
				walk(member)
			}
		}
	}
	walk(r.body)
	for _, line := range r.header.Values("Set-Cookie") {
		_, rest, _ := strings.Cut(line, "=")
		if value, _, _ := strings.Cut(rest, ";"); len(value) >= 16 {
			w.secret("cookie", value)
		}
	}
	if to, err := url.Parse(r.header.Get("Location")); err == nil {
		w.secret("code", to.Query().Get("code"))
	}
}

// scan gives what is wrong with what a process printed or NATS stored, without
// repeating it.
func (w *world) scan(text string) []string {
	log := logLines(text)
	w.mu.Lock()
	defer w.mu.Unlock()
	var problems []string
	for _, s := range w.secrets {
		where := text
		if s.shown {
			where = log
		}
		if slices.ContainsFunc(s.forms, func(form string) bool { return strings.Contains(where, form) }) {
			problems = append(problems, "it holds a secret: "+s.kind)
		}
	}
	for _, sign := range []string{"PRIVATE KEY", "DATA RACE", "panic: ", "fatal error: "} {
		if strings.Contains(text, sign) {
			problems = append(problems, "it holds "+sign)
		}
	}
	slices.Sort(problems)
	return slices.Compact(problems)
}

// redact is for the test's own log.
func (w *world) redact(text string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.secrets {
		for _, form := range s.forms {
			text = strings.ReplaceAll(text, form, "…")
		}
	}
	return text
}

// logLines are those that are not written for the one who reads the terminal.
func logLines(text string) string {
	var log strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, "time=") || strings.HasPrefix(line, "quash: ") {
			log.WriteString(line)
		}
	}
	return log.String()
}

// scanStreams looks through every stream that there is: statements, records and
// login attempts.
func (w *world) scanStreams() {
	w.t.Helper()
	w.eventually("NATS is there at the end, so that what it stores is looked through", w.conn.IsConnected)
	js, err := jetstream.New(w.conn, jetstream.WithDefaultTimeout(patience))
	if err != nil {
		w.t.Error(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	names := js.StreamNames(ctx)
	for name := range names.Name() {
		var all strings.Builder
		w.messages(name, func(m *jetstream.RawStreamMsg) {
			fmt.Fprintf(&all, "%s %v %s\n", m.Subject, m.Header, m.Data)
		})
		for _, problem := range w.scan(all.String()) {
			w.t.Errorf("stream %s: %s", name, problem)
		}
	}
	if err := names.Err(); err != nil {
		w.t.Errorf("listing the streams: %v", err)
	}
}

// quiet counts what would have failed.
type quiet struct {
	testing.TB
	errors []string
}

func (q *quiet) Errorf(format string, a ...any) {
	q.errors = append(q.errors, fmt.Sprintf(format, a...))
}
func (q *quiet) Helper() {}

// TestWorld_scan: the scan of a world finds what leaks, in the forms in which logs
// hold it, and does not find what does not.
func TestWorld_scan(t *testing.T) {
	t.Parallel()
	q := &quiet{TB: t}
	w := &world{t: q, secrets: map[string]secret{}}
	w.secret("password of ann", `correct "horse" battery`)
	w.secret("password of bob", "shown-to-bob")
	w.shown("shown-to-bob")
	w.learn(reply{body: map[string]any{
		"access_token": "eyJh.eyJp.c2lnbmF0dXJlLW9mLXRoZQ", "sid": "the-session-of-somebody",
		"tokens": []any{map[string]any{"refresh_token": "sid-sid-sid.secret-secret-secret"}},
	}, header: map[string][]string{"Set-Cookie": {"__Host-x=cookie-cookie-cookie; Path=/"}, "Location": {"http://a/cb?state=12345678&code=abcdefgh12345678"}}})
	for text, want := range map[string]string{
		"nothing at all, the-session-of-somebody":                            "",
		`time=1 msg="it was correct \"horse\" battery"`:                      "it holds a secret: password of ann",
		"correct+%22horse%22+battery":                                        "it holds a secret: password of ann",
		base64.StdEncoding.EncodeToString([]byte(`correct "horse" battery`)): "it holds a secret: password of ann",
		"the password is shown-to-bob":                                       "",
		"time=2026 level=INFO msg=shown-to-bob":                              "it holds a secret: password of bob",
		"eyJh.eyJp.":                                                         "",
		"the token eyJh.eyJp.c2lnbmF0dXJlLW9mLXRoZQ":                         "it holds a secret: access_token",
		"…secret-secret-secret":                                              "it holds a secret: refresh_token",
		"cookie=cookie-cookie-cookie":                                        "it holds a secret: cookie",
		"GET /cb?code=abcdefgh12345678":                                      "it holds a secret: code",
		"-----BEGIN PRIVATE KEY-----":                                        "it holds PRIVATE KEY",
		"WARNING: DATA RACE\n":                                               "it holds DATA RACE",
	} {
		if got := strings.Join(w.scan(text), ", "); got != want {
			t.Errorf("scan(%q) = %q, want %q", text, got, want)
		}
		if strings.Contains(w.redact(text), "secret-secret") {
			t.Errorf("redact(%q) leaves it", text)
		}
	}
	if len(q.errors) > 0 {
		t.Errorf("it complains of %q", q.errors)
	}
	w.secret("password", "short")
	if len(q.errors) != 1 {
		t.Errorf("a secret that would be found by chance is taken")
	}
}
