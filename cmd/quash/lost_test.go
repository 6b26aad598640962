package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/internal/ports"
	"github.com/quash-auth/quash/issuer"
	"github.com/quash-auth/quash/verifier"
)

// TestIssuer_noRoom: an issuer whose bucket does not fit says so, and not that
// NATS is not there.
func TestIssuer_noRoom(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.WithConfig(func(o *server.Options) { o.JetStreamMaxStore = 1<<30 + 8<<20 }))
	address, err := ports.Address()
	if err != nil {
		t.Fatal(err)
	}
	p := startQuash(t, "issuer", "--listen", address, "--keys-dir", t.TempDir(), "--ensure-stream", "--nats", s.URL())
	if err := p.waitLine("can not open yet.*storage.*max_file_store"); err != nil {
		t.Fatal(err)
	}
	out, err := quashCommand("health", "http://"+address+"/readyz").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "max_file_store") || strings.Contains(string(out), "has not reached NATS") {
		t.Errorf("quash health: %v: %s", err, out)
	}
}

// TestStream_replicasHint: the flag behind the server's refusal is named.
func TestStream_replicasHint(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	out, err := quashCommand("stream", "ensure", "--replicas", "3", "--nats", s.URL()).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "--replicas needs a cluster") {
		t.Errorf("quash stream ensure: %v: %s", err, out)
	}
}

// TestIssuer_lostStream: the buckets are there and the stream is not.
func TestIssuer_lostStream(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	nc := s.Connect(t)
	address, err := ports.Address()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"issuer", "--listen", address, "--keys-dir", t.TempDir(), "--ensure-stream", "--nats", s.URL()}
	first := startQuash(t, args...)
	if err := waitStatus("http://"+address+"/readyz", "", 200); err != nil {
		t.Fatal(err)
	}
	if err := first.interrupt(); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(first.output(), "WARNING") {
		t.Errorf("the first start warns:\n%s", first.output())
	}
	answer, err := nc.Request("$JS.API.STREAM.DELETE.QUASH", nil, patience)
	if err != nil || !json.Valid(answer.Data) || !strings.Contains(string(answer.Data), `"success":true`) {
		t.Fatalf("removing the stream: %v", err)
	}
	second := startQuash(t, args...)
	if err := second.waitLine("^quash: WARNING: the stream QUASH was missing .*quash revoke issuer --iss http://" + regexp.QuoteMeta(address)); err != nil {
		t.Fatal(err)
	}
	if err := waitStatus("http://"+address+"/readyz", "", 200); err != nil {
		t.Fatal(err)
	}
}

func TestAgain(t *testing.T) {
	t.Parallel()
	var a again
	now := time.Now()
	for i, tt := range []struct {
		text  string
		after time.Duration
		want  bool
	}{{"a", 0, true}, {"a", time.Second, false}, {"b", 2 * time.Second, true}, {"b", 61 * time.Second, false}, {"b", 62 * time.Second, true}} {
		if got := a.loud(tt.text, now.Add(tt.after)); got != tt.want {
			t.Errorf("%d: loud(%q) = %v, want %v", i, tt.text, got, tt.want)
		}
	}
}

// TestDeploy_sizes: what the runbook tells people to type fits into the shipped
// server, the bucket of login attempts and a gibibyte of sessions included.
func TestDeploy_sizes(t *testing.T) {
	for name, value := range rolePasswords {
		t.Setenv(name, value)
	}
	opts, err := server.ProcessConfigFile(filepath.Join(deployDir, "nats", "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(deployDir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("`(?:quash stream ensure|nats stream edit)[^`]*--max-bytes ([^ `]+)").FindAllStringSubmatch(string(text), -1)
	if len(found) < 2 {
		t.Fatalf("found %d examples", len(found))
	}
	for _, f := range found {
		size, err := byteSize("--max-bytes", f[1])
		if err != nil {
			t.Error(err)
		}
		if rest := opts.JetStreamMaxStore - size; rest < 900<<20 {
			t.Errorf("%s leaves %d bytes", f[0], rest)
		}
		if strings.Contains(f[0], "--replicas") {
			t.Errorf("%s is not for one server", f[0])
		}
	}
}

// TestNotAllowed: what the NATS user may not do is said, and not that nobody
// answers.
func TestNotAllowed(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.WithConfig(func(o *server.Options) {
		deny := &server.SubjectPermission{Deny: []string{"quash.>", "$JS.>"}}
		o.Users = []*server.User{{Username: "ada", Password: "lovelace", Permissions: &server.Permissions{Publish: deny}}}
	}))
	for _, command := range [][]string{{"status", "--quiet", "5s"}, {"stream", "ensure"}, {"stream", "check"}} {
		out, err := quashCommand(append(command, "--nats", s.URL(), "--nats-user", "ada", "--nats-password", "lovelace")...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "the NATS user ada may not do this (") || strings.Contains(string(out), "lovelace") {
			t.Errorf("quash %v: %v: %s", command, err, out)
		}
	}
}

// TestInFlags: errors of the libraries reach users with flags, and paths stay as
// they are.
func TestInFlags(t *testing.T) {
	t.Parallel()
	for in, want := range map[error]string{
		fmt.Errorf("%w: Issuers[0].Audience is empty", verifier.ErrConfig):                "--audience is empty",
		fmt.Errorf("%w: Issuers[0].JWKSFile: open /Keys/Issuer.json", verifier.ErrConfig): "--jwks: open /Keys/Issuer.json",
		fmt.Errorf("%w: RefreshAbsolute: is shorter than RefreshIdle", issuer.ErrConfig):  "--refresh-absolute: is shorter than --refresh-idle",
		fmt.Errorf("%w: Issuer: is http (AllowHTTP permits it)", issuer.ErrConfig):        "--issuer: is http (--insecure-http-issuer permits it)",
		fmt.Errorf("%w: Issuers[0].AllowHTTP is set without JWKSURL", verifier.ErrConfig): "--insecure-http-jwks is set without --jwks",
		fmt.Errorf("%w: MaxEntries or DetailBytes cannot be used", verifier.ErrConfig):    "--max-entries cannot be used",
		errors.New("raise Config.MaxEntries; no Issuer has Keys"):                         "raise --max-entries; no Issuer has Keys",
	} {
		if got := inFlags(in); got != want {
			t.Errorf("inFlags(%v) = %q, want %q", in, got, want)
		}
	}
	if got := plain("publish: " + nats.ErrReconnectBufExceeded.Error()); got != "publish: no NATS server answers" {
		t.Errorf("plain = %q", got)
	}
	for _, name := range keySetAlgorithms {
		c := verifier.Config{Issuers: []verifier.Issuer{{Issuer: "x", Audience: []string{"x"}, JWKSURL: "https://x", Algorithms: []string{name}}}}
		if _, err := verifier.New(c); err == nil || strings.Contains(err.Error(), "Algorithms") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSameAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"127.0.0.1:80", "127.0.0.1:80", true}, {"127.0.0.1:80", "localhost:http", true}, {"0.0.0.0:80", "127.0.0.1:80", true}, {":80", "10.0.0.1:80", true},
		{"127.0.0.1:0", "127.0.0.1:0", false}, {"127.0.0.1:80", "127.0.0.1:81", false}, {"127.0.0.1:80", "127.0.0.2:80", false},
	} {
		if got := sameAddress(tt.a, tt.b); got != tt.want {
			t.Errorf("sameAddress(%s, %s) = %v", tt.a, tt.b, got)
		}
	}
}

// TestIgnored: secrets that the program makes by default are neither committed
// nor sent to an image's build.
func TestIgnored(t *testing.T) {
	t.Parallel()
	for file, want := range map[string][]string{
		".gitignore":    {"quash-keys/", "/quash-data/", ".env"},
		".dockerignore": {"**/quash-keys", "**/quash-data", ".env"},
	} {
		lines := strings.Split(readText(t, filepath.Join("..", "..", file)), "\n")
		for _, w := range want {
			if !slices.Contains(lines, w) {
				t.Errorf("%s lacks %s", file, w)
			}
		}
	}
}

func TestInPlainWords(t *testing.T) {
	t.Parallel()
	h := inPlainWords(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		text := `{"ready":false,"reason":"raise Config.MaxEntries"}`
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(text))
	}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	if want := `{"ready":false,"reason":"raise --max-entries"}`; w.Code != http.StatusServiceUnavailable || w.Body.String() != want || w.Header().Get("Content-Length") != "" {
		t.Errorf("got %d %q %v, want 503 %q", w.Code, w.Body, w.Header(), want)
	}
}
