package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/internal/ports"
)

// TestReadmeProgram builds the program of the README, runs it beside `quash up`
// on free ports, and sees it accept a token and refuse it once it is revoked.
func TestReadmeProgram(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile("(?s)```go\n(.*?)```").FindSubmatch(text)
	if program == nil {
		t.Fatal("no program in the README")
	}
	var addrs [4]string // NATS, issuer, demo API, the program
	for i := range addrs {
		if addrs[i], err = ports.Address(); err != nil {
			t.Fatal(err)
		}
	}
	source := strings.NewReplacer("127.0.0.1:4222", addrs[0], "127.0.0.1:8080", addrs[1], "127.0.0.1:8090", addrs[3]).Replace(string(program[1]))
	dir := t.TempDir()
	file, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "readme")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", binary, file).CombinedOutput(); err != nil {
		t.Fatalf("the README's program does not compile: %v\n%s", err, out)
	}
	up := startQuash(t, "up", "--data-dir", filepath.Join(dir, "data"), "--demo-user", "demo:correct horse",
		"--nats-listen", addrs[0], "--listen", addrs[1], "--api-listen", addrs[2])
	if err := up.waitLine(`^ready in `); err != nil {
		t.Fatal(err)
	}
	own, err := startProcess(exec.Command(binary))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.kill)

	status := func(method, path, token string, body []byte) (int, []byte) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		r.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, nil
		}
		defer res.Body.Close()
		data, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, data
	}
	wait := func(want int, what string, ask func() int) {
		t.Helper()
		limit := time.After(patience)
		for got := ask(); got != want; got = ask() {
			select {
			case <-limit:
				t.Fatalf("%s: still %d, want %d; the program said:\n%s", what, got, want, own.output())
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	wait(200, "ready", func() int { code, _ := status("GET", addrs[3]+"/readyz", "", nil); return code })
	code, answer := status("POST", addrs[1]+"/login", "", []byte(`{"username":"demo","password":"correct horse"}`))
	var login struct {
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal(answer, &login); err != nil || code != 200 {
		t.Fatalf("login: %d %s %v", code, answer, err)
	}
	if code, body := status("GET", addrs[3]+"/orders", login.Access, nil); code != 200 || !strings.HasPrefix(string(body), "orders of ") {
		t.Fatalf("with a good token: %d %s", code, body)
	}
	if code, body := status("POST", addrs[1]+"/logout", login.Access, nil); code >= 300 {
		t.Fatalf("logout: %d %s", code, body)
	}
	wait(401, "after the logout", func() int { code, _ := status("GET", addrs[3]+"/orders", login.Access, nil); return code })
}
