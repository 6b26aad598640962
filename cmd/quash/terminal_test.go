package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/quash-auth/quash/events"
)

// moves are the characters that a terminal would not just show.
func moves(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}

// escapes are ESC, CSI as one character, a direction mark, a tag beyond 16 bits.
const escapes = "\x1b[2J\u009b31m\u202e\U000e0041"

// TestHostileIssuerAndTheTerminal: nothing that an issuer answers gets through to the terminal of the operator who asked.
func TestHostileIssuerAndTheTerminal(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(escapes)
	if err != nil {
		t.Fatal(err)
	}
	e := string(text)
	page := `{"sub":` + e + `,"users":[{"sub":` + e + `,"username":` + e + `,"scopes":[` + e + `]}],"sessions":[{"sid":` + e + `,"sub":` + e +
		`,"client_id":` + e + `,"agent":` + e + `}],"keys":[{"kid":` + e + `,"alg":` + e + `,"state":` + e + `}],"id":` + e + `,"txn":` + e +
		`,"kid":` + e + `,"state":` + e + `,"username":` + e + `,"clients":{` + e + `:1},"issuer":` + e + `}`
	refusing := false
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if refusing {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"error":`+e+`,"error_description":`+e+`}`)
			return
		}
		_, _ = io.WriteString(w, page)
	}))
	defer web.Close()
	raw := rawServer(t, "HTTP/1.1 200 OK\r\n"+escapes+"\r\n\r\n")
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(issuer string, args ...string) string {
		var out, errs strings.Builder
		execute(append(append([]string{"quash"}, args...), "--issuer", issuer, "--token-file", token), &out, &errs)
		if out.Len()+errs.Len() == 0 {
			t.Errorf("%q: got no output", args)
		}
		return out.String() + errs.String()
	}
	for _, args := range [][]string{
		{"user", "list"}, {"user", "list", "--json"}, {"user", "disable", "ann"}, {"user", "enable", "ann", "--json"},
		{"sessions", "list", "--user", "ann"}, {"sessions", "list", "--user", "ann", "--json"}, {"sessions", "end", "--user", "ann"},
		{"sessions", "end", "--user", "ann", "--json"}, {"sessions", "end", "--everyone", "--reason", "r"},
		{"keys", "list"}, {"keys", "list", "--json"}, {"keys", "rotate"}, {"keys", "rotate", "--json"},
		{"keys", "revoke", "k", "--confirm", "k", "--reason", "r"}, {"keys", "revoke", "k", "--confirm", "k", "--reason", "r", "--json"},
	} {
		for _, refusing = range []bool{false, true} {
			if got := run(web.URL, args...); moves(got) != "" {
				t.Errorf("%q, refusing %v: got %q", args, refusing, got)
			}
		}
		if got := run(raw, args...); moves(got) != "" {
			t.Errorf("%q, no HTTP: got %q", args, got)
		}
	}
}

// TestHostileReasonAndTheTerminal: a publisher writes the reason, an operator watches.
func TestHostileReasonAndTheTerminal(t *testing.T) {
	t.Parallel()
	e := events.Event{Revocation: events.Revocation{ID: "x", Issuer: "i" + escapes, Scope: events.Session, Key: escapes, By: "admin",
		Actor: escapes, Reason: escapes, Txn: escapes, Until: time.Unix(1e9, 0)}, Time: time.Unix(1e9, 0)}
	for _, asJSON := range []bool{false, true} {
		var out strings.Builder
		if err := (&watcher{json: asJSON, out: &out}).print(e); err != nil || moves(out.String()) != "" {
			t.Errorf("JSON %v: got %q, %v", asJSON, out.String(), err)
		}
		if asJSON {
			var back watched
			if err := json.Unmarshal([]byte(out.String()), &back); err != nil || back.Reason != escapes {
				t.Errorf("read back: got %q, %v", back.Reason, err)
			}
		}
	}
}

// rawServer answers everything with a text.
func rawServer(t *testing.T, text string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, text)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return fmt.Sprint("http://", l.Addr())
}

// TestHostileErrorAndTheTerminal: errors quote servers.
func TestHostileErrorAndTheTerminal(t *testing.T) {
	t.Parallel()
	var errs strings.Builder
	(&program{stderr: &errs}).fail(errors.New("a\tb\r\nc " + escapes))
	if got := errs.String(); moves(got) != "" || !strings.HasPrefix(got, "quash: a b; c ") || strings.Count(got, "\n") != 1 {
		t.Errorf("got %q", got)
	}
}
