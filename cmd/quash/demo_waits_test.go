package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestDemo_busAwayForAMoment: a login that a real issuer answers 503, because NATS is gone just then, is asked again, and the demo
// says so.
func TestDemo_busAwayForAMoment(t *testing.T) {
	t.Parallel()
	w := newDemoWorld(t.TempDir(), 1, 8*time.Second, slog.New(slog.DiscardHandler))
	defer w.close()
	d := &demo{world: w, waits: &waits{most: patience}}
	back := false
	d.waits.away = func() { // the issuer has answered 503
		if back {
			return
		}
		back = true
		if err := w.restartNATS(); err != nil {
			t.Error(err)
		}
	}
	stop := step{"stop NATS", "", func(context.Context, *demo) (found, error) {
		w.nats.stop()
		return found{}, poll(t.Context(), func() error {
			if w.issuer.conn.IsConnected() {
				return errors.New("the issuer has not noticed")
			}
			return nil
		})
	}}
	var out bytes.Buffer
	if err := d.perform(t.Context(), []step{{"start", "", stepStart}, stop, {"log in", "", stepLogin}, {"call", "", stepCall}}, &demoTable{out: &out}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	defer d.client.close()
	if got := d.report.Steps[2].Waited; len(got) == 0 || !strings.HasPrefix(got[0], "POST /login answered 503 ") {
		t.Errorf("waited for %q, want the login", got)
	}
	if !strings.Contains(out.String(), "waited: POST /login answered 503 ") {
		t.Errorf("the table does not say what was waited for:\n%s", out.String())
	}
}

// TestDemo_defectsAreNotWaitedOut: who says no, or never says anything else than "not now", fails the demo with a sentence.
func TestDemo_defectsAreNotWaitedOut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		after  string
		tries  int
		want   string
	}{
		"no Retry-After":  {503, "", 1, "POST /login answered 503 and does not say when to ask again (no Retry-After): away"},
		"a date":          {503, "Sat, 21 Nov 2026 00:00:00 GMT", 1, "does not say when to ask again"},
		"far too long":    {503, "3600", 1, "POST /login answered 503 once and asks to wait 1h0m0s more, longer than the 250ms that the demo waits: away"},
		"for ever":        {503, "0", 3, "POST /login answered 503 3 times and asks to wait 100ms more"},
		"another failure": {500, "1", 1, "login of ada answered 500: away"},
		"a refusal":       {401, "1", 1, "login of ada answered 401: away"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tries := 0
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				tries++
				if c.after != "" {
					w.Header().Set("Retry-After", c.after)
				}
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte("away"))
			}))
			defer s.Close()
			client := newClient(s.URL, 1)
			defer client.close()
			client.waits = &waits{most: 250 * time.Millisecond}
			_, err := client.login(t.Context(), "ada", "secret")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if s.Close(); tries != c.tries {
				t.Errorf("asked %d times, want %d", tries, c.tries)
			}
		})
	}
}
