package interop

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLoginProgram builds the program of docs/login.md as it stands there, registers it with the registry file of the same page,
// and logs somebody in.
func TestLoginProgram(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "login.md"))
	if err != nil {
		t.Fatal(err)
	}
	registry := regexp.MustCompile("(?s)```json\n(.*?)```").FindSubmatch(text)
	program := regexp.MustCompile("(?s)```go\n(.*?)```").FindSubmatch(text)
	if registry == nil || program == nil {
		t.Fatal("no registry file or no program in docs/login.md")
	}
	dir := t.TempDir()
	clients, source, own := filepath.Join(dir, "clients.json"), filepath.Join(dir, "main.go"), filepath.Join(dir, "login")
	if err := os.WriteFile(clients, registry[1], 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, "ES256", "--clients", clients)
	address := freeAddress(t) // the registered port does not count on loopback
	replaced := strings.NewReplacer("http://127.0.0.1:8080", w.issuer, "127.0.0.1:9090", address).Replace(string(program[1]))
	if err := os.WriteFile(source, []byte(replaced), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", own, source).CombinedOutput(); err != nil {
		t.Fatalf("the program of docs/login.md does not compile: %v\n%s", err, out)
	}
	cmd := exec.Command(own)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails if it has ended
		_ = cmd.Wait()
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Timeout: patience}
	get := func(address string) (string, *url.URL, bool) {
		res, err := browser.Get(address)
		if err != nil {
			return "", nil, false
		}
		return pageText(t, res), res.Request.URL, res.StatusCode == http.StatusOK
	}
	var page string
	var at *url.URL
	until(t, "the program leads to the login page", func() (ok bool) {
		page, at, ok = get("http://" + address + "/")
		return ok
	})
	form := regexp.MustCompile(`(?s)action="([^"]*)".*name="ticket" value="([^"]*)"`).FindStringSubmatch(page)
	if form == nil || !strings.Contains(page, "The Shop") {
		t.Fatalf("no login form for The Shop at %s:\n%s", at, page)
	}
	res, err := browser.PostForm(at.ResolveReference(&url.URL{Path: form[1]}).String(),
		url.Values{"ticket": {form[2]}, "username": {user}, "password": {password}})
	if err != nil {
		t.Fatal(err)
	}
	if said := pageText(t, res); res.StatusCode != http.StatusOK || !regexp.MustCompile(`^hello [^ ]+, your API session ends in [0-9]+ s\n$`).MatchString(said) {
		t.Errorf("after the login: got %d %s", res.StatusCode, said)
	}
	if said, _, ok := get("http://" + address + "/callback?state=x&code=y"); ok || !strings.Contains(said, "did not begin here") {
		t.Errorf("somebody else's code: got %q, want it refused", said)
	}
}

func pageText(t *testing.T, res *http.Response) string {
	t.Helper()
	defer res.Body.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
