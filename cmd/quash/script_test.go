package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/quash-auth/quash/internal/ports"
)

// patience is when a broken run is given up. A healthy one never waits for it.
const patience = 3 * time.Minute

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Values[processesKey{}] = map[string]*process{}
			tmp := filepath.Join(e.WorkDir, "tmp")
			e.Setenv("TMPDIR", tmp)
			e.Setenv("GORACE", os.Getenv("GORACE"))
			return os.MkdirAll(tmp, 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"addresses": cmdAddresses,
			"start":     cmdStart,
			"line":      cmdLine,
			"end":       cmdEnd,
			"http":      cmdHTTP,
			"until":     cmdUntil,
			"paste":     cmdPaste,
			"foreign":   cmdForeign,
		},
	})
}

// TestScripts_runToTheirEnd: testscript's own stop ends a script there and then, and it passes.
func TestScripts_runToTheirEnd(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range scripts {
		if regexp.MustCompile(`(?m)^(\[.*\] )?(stop|skip)\b`).MatchString(readText(t, path)) {
			t.Errorf("%s: stop and skip leave the rest of a script unseen; a process is ended by end", path)
		}
	}
}

type processesKey struct{}

func processes(ts *testscript.TestScript) map[string]*process {
	return ts.Value(processesKey{}).(map[string]*process)
}

// cmdAddresses: addresses NAME… sets each variable to an address that is free.
func cmdAddresses(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		a, err := ports.Address()
		ts.Check(err)
		ts.Setenv(name, a)
	}
}

// cmdStart: start NAME ARG… runs quash in the background until end or the script is over.
func cmdStart(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: start NAME ARG…")
	}
	cmd := quashCommand(args[1:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "TMPDIR="+ts.Getenv("TMPDIR"))
	p, err := startProcess(cmd)
	ts.Check(err)
	processes(ts)[args[0]] = p
	ts.Defer(p.kill)
}

func named(ts *testscript.TestScript, name string) *process {
	p := processes(ts)[name]
	if p == nil {
		ts.Fatalf("nothing was started as %s", name)
	}
	return p
}

// cmdLine: line NAME REGEXP waits for a line of its output.
func cmdLine(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: line NAME REGEXP")
	}
	ts.Check(named(ts, args[0]).waitLine(args[1]))
}

// cmdEnd: [!] end NAME interrupts it and demands exit 0 (with !, another).
func cmdEnd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: end NAME")
	}
	p := named(ts, args[0])
	err := p.interrupt()
	ts.Logf("%s", p.output())
	if (err != nil) != neg {
		ts.Fatalf("%s ended with %v", args[0], err)
	}
}

// cmdHTTP: http STATUS URL [TOKENFILE] asks until the status is that.
func cmdHTTP(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: http STATUS URL [TOKENFILE]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	token := ""
	if len(args) > 2 {
		token = strings.TrimSpace(ts.ReadFile(args[2]))
	}
	ts.Check(waitStatus(args[1], token, want))
}

// cmdUntil: until REGEXP ARG… runs quash ARG… until its output matches.
func cmdUntil(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: until REGEXP ARG…")
	}
	want, err := regexp.Compile(args[0])
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ts.Check(poll(ctx, func() error {
		cmd := quashCommand(args[1:]...)
		cmd.Env = append(os.Environ(), "QUASH_NATS="+ts.Getenv("QUASH_NATS"))
		out, err := cmd.CombinedOutput()
		if !want.Match(out) {
			return fmt.Errorf("quash %v: %v: %s", args[1:], err, out)
		}
		return nil
	}))
}

// cmdPaste: paste NAME FIRST FILE writes the block of printed commands that begins
// with FIRST to FILE.
func cmdPaste(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: paste NAME FIRST FILE")
	}
	_, block, ok := strings.Cut(named(ts, args[0]).output(), "\n"+args[1])
	if !ok {
		ts.Fatalf("no line begins with %s", args[1])
	}
	block, _, _ = strings.Cut(block, "\n\n")
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(args[1]+block+"\n"), 0o600))
}

// waitStatus asks url until it answers with the status.
func waitStatus(url, token string, want int) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return poll(ctx, func() error { return askStatus(ctx, url, token, want) })
}

// askStatus asks once.
func askStatus(ctx context.Context, url, token string, want int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != want {
		return fmt.Errorf("%s answered %d instead of %d: %s", url, resp.StatusCode, want, body)
	}
	return nil
}

// quashCommand is this test binary under the name quash.
func quashCommand(args ...string) *exec.Cmd {
	exe, err := os.Executable()
	if err != nil {
		exe = os.Args[0]
	}
	cmd := exec.Command(exe, args...)
	cmd.Args[0] = "quash"
	return cmd
}
