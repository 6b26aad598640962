package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// script is a stranger in another language, one program of testdata. It reads a
// question from its standard input and writes the verdicts.
type script struct {
	name    string
	command func(t testing.TB) (program string, args []string)
	without []string // algorithms it does not have
}

var scripts = []script{
	{name: "python jwt", command: python("verify_pyjwt.py")},
	{name: "python authlib", command: python("verify_authlib.py")},
	{name: "npm jose", command: node("verify_jose.mjs")},
	{name: "npm oauth4webapi", command: node("verify_oauth4webapi.mjs")},
}

func (s script) lacks(alg string) bool { return slices.Contains(s.without, alg) }

// question is what a script is asked.
type question struct {
	Issuer   string            `json:"issuer"`
	JWKS     string            `json:"jwks_uri"`
	Audience string            `json:"audience"`
	Alg      string            `json:"alg"`
	Tokens   map[string]string `json:"tokens,omitempty"`
	Learn    float64           `json:"learn,omitempty"` // seconds that keys may be remembered
}

func (s script) judge(t testing.TB, w *world, alg string, p probes) map[string]verdict {
	t.Helper()
	got := map[string]verdict{}
	s.ask(t, question{Issuer: w.issuer, JWKS: w.jwks(), Audience: audience, Alg: alg, Tokens: p.all()}, &got)
	return got
}

// ask runs the script and decodes its answer.
func (s script) ask(t testing.TB, q, answer any) {
	t.Helper()
	input, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	program, args := s.command(t)
	out := runProgram(t, input, program, args...)
	if err := json.Unmarshal(out, answer); err != nil {
		t.Fatalf("%s: its answer is not JSON: %v\n%s", s.name, err, out)
	}
}

// runProgram gives the standard output of a program that must succeed.
func runProgram(t testing.TB, input []byte, program string, args ...string) []byte {
	t.Helper()
	out, err := tryProgram(t, input, program, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tryProgram(t testing.TB, input []byte, program string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s: %w\n%s%s", filepath.Base(program), err, out, stderr.String())
	}
	return out, nil
}

// python runs a program with Debian's Python, the one that has Debian's packages.
func python(name string) func(testing.TB) (string, []string) {
	return func(testing.TB) (string, []string) {
		return "/usr/bin/python3", []string{"-B", filepath.Join("testdata", "python", name)}
	}
}

// node runs a program beside the installed npm packages.
func node(name string) func(testing.TB) (string, []string) {
	return func(t testing.TB) (string, []string) {
		t.Helper()
		dir, err := npmInstall()
		if err != nil {
			t.Fatal(err)
		}
		return "node", []string{filepath.Join(dir, name)}
	}
}

// npmInstall installs what package-lock.json pins into the run's directory, with
// its programs beside it. The lock has each package's hash.
var npmInstall = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(work, "npm")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "npm"))); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
	defer cancel()
	var out []byte
	var err error
	for range 3 { // they come over the network
		cmd := exec.CommandContext(ctx, "npm", "ci", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts")
		cmd.Dir = dir
		if out, err = cmd.CombinedOutput(); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("npm could not install the packages of testdata/npm/package-lock.json (it needs node 20 or newer, npm and its registry): %w\n%s", err, out)
})

func getJSON(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // only read
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}

// TestProgramsAreThere says what to install instead of leaving it to a riddle.
func TestProgramsAreThere(t *testing.T) {
	t.Parallel()
	for program, from := range map[string]string{
		"jose": "Debian package jose", "/usr/bin/python3": "Debian package python3",
		"node": "Debian package nodejs (20 or newer)", "npm": "npm",
	} {
		if _, err := exec.LookPath(program); err != nil {
			t.Errorf("%s is missing: install %s (.ci/run does)", program, from)
		}
	}
	if out, err := tryProgram(t, nil, "/usr/bin/python3", "-c", "import jwt, authlib, requests, cryptography"); err != nil {
		t.Errorf("install python3-jwt python3-authlib python3-requests python3-cryptography (.ci/run does): %v %s", err, strings.TrimSpace(string(out)))
	}
}
