package issuer_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quash-auth/quash/issuer"
)

// TestProbesLogChangesOnly: a probe every second must not fill the log, and what it is told must be in it once.
func TestProbesLogChangesOnly(t *testing.T) {
	nats := server(t)
	log := &logs{}
	cfg := issuer.Config{Issuer: iss, Audience: []string{"api"}, KeysDir: filepath.Join(t.TempDir(), "keys"), EnsureStream: true,
		Conn: nats.Connect(t), Logger: log.alsoTo(nil)}
	i, err := issuer.New(within(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	probe := func() int {
		w := httptest.NewRecorder()
		i.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		if w.Code == http.StatusServiceUnavailable && (w.Header().Get("Retry-After") != "2" || !strings.Contains(w.Body.String(), "temporarily_unavailable")) {
			t.Errorf("a probe of an issuer that is not ready: %v %s", w.Header(), w.Body)
		}
		return w.Code
	}
	check := func(when string, want map[string]int) {
		t.Helper()
		for text, n := range want {
			if got := strings.Count(log.String(), text); got != n {
				t.Errorf("%s the log has %q %d times, want %d:\n%s", when, text, got, n, log)
			}
		}
	}
	for range 20 {
		if got := probe(); got != http.StatusServiceUnavailable {
			t.Fatalf("before Run: got %d, want 503", got)
		}
	}
	check("before Run", map[string]int{`"msg":"ready"`: 0, "not ready yet": 1, "not ready any more": 0, "request failed": 0, `"level":"WARN"`: 0})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- i.Run(ctx) }()
	until(t, "ready", func() bool { return probe() == http.StatusOK })
	for range 20 {
		probe()
	}
	check("once ready", map[string]int{`"msg":"ready"`: 1, "not ready yet": 1, "not ready any more": 0, "request failed": 0})
	nats.Stop()
	until(t, "not ready", func() bool { return probe() == http.StatusServiceUnavailable })
	for range 20 {
		probe()
	}
	check("without NATS", map[string]int{`"msg":"ready"`: 1, "not ready yet": 1, "not ready any more": 1, "request failed": 0})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestKeysDirOfOthers: an issuer says so if others may list or replace its keys, and only then.
func TestKeysDirOfOthers(t *testing.T) {
	nats := server(t)
	for mode, want := range map[os.FileMode]bool{0o700: false, 0o750: true, 0o701: true, 0o770: true, 0: false} {
		dir := filepath.Join(t.TempDir(), "keys")
		if mode != 0 { // 0: the issuer makes it
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(dir, mode); err != nil { // whatever the umask is
				t.Fatal(err)
			}
		}
		log := &logs{}
		start(t, nats.URL(), func(c *issuer.Config) { c.KeysDir, c.Logger = dir, log.alsoTo(nil) }).stop()
		if got := strings.Contains(log.String(), "chmod 700"); got != want {
			t.Errorf("mode %#o: warned %v, want %v:\n%s", mode, got, want, log)
		}
	}
}
