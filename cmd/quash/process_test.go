package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// process is quash running as a child, with its output line by line.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // valid then

	mu    sync.Mutex // guards what follows
	lines []string
	more  chan struct{} // closed and replaced at every new line
}

func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{}), more: make(chan struct{})}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		_ = r.Close()
		_ = w.Close()
		return nil, err
	}
	_ = w.Close() // the child has its own copy
	go func() {
		defer close(p.done)
		p.read(r)
		_ = r.Close()
		p.err = cmd.Wait()
	}()
	return p, nil
}

func (p *process) read(r io.Reader) {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		p.mu.Lock()
		p.lines = append(p.lines, scanner.Text())
		close(p.more)
		p.more = make(chan struct{})
		p.mu.Unlock()
	}
}

func (p *process) snapshot() ([]string, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.lines), p.more
}

func (p *process) output() string {
	lines, _ := p.snapshot()
	return strings.Join(lines, "\n") + "\n"
}

// waitLine waits until a line matches.
func (p *process) waitLine(pattern string) error {
	want, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	ended := p.done
	for {
		lines, more := p.snapshot()
		if slices.ContainsFunc(lines, want.MatchString) {
			return nil
		}
		if ended == nil {
			return fmt.Errorf("it ended (%v) without a line %q:\n%s", p.err, pattern, p.output())
		}
		select {
		case <-more:
		case <-ended:
			ended = nil // look once more: its last lines are there now
		case <-limit.C:
			return fmt.Errorf("no line %q:\n%s", pattern, p.output())
		}
	}
}

// interrupt is Ctrl-C. It gives the process' own end.
func (p *process) interrupt() error {
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	select {
	case <-p.done:
		return p.err
	case <-time.After(patience):
		p.kill()
		return fmt.Errorf("it did not end after an interrupt:\n%s", p.output())
	}
}

// kill is SIGKILL, and waits. It may be called again.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails if it has ended
	<-p.done
}

// runQuash runs quash to its end, again until it says all that is wanted: a busy node may answer too late to be counted. Whatever it
// says, it must succeed.
func runQuash(t testing.TB, args []string, want ...string) string {
	t.Helper()
	for limit := time.Now().Add(patience); ; {
		out, err := quashCommand(args...).CombinedOutput()
		if err != nil && !strings.Contains(string(out), "but no node answered") {
			t.Fatalf("quash %v: %v: %s", args, err, out)
		}
		if err == nil && !slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(string(out), w) }) {
			return string(out)
		}
		if time.Now().After(limit) {
			t.Fatalf("quash %v does not say %q: %s", args, want, out)
		}
	}
}

// patientClient asks again while the answer is 503, which says that nothing was done.
func patientClient(url string) *client {
	c := newClient(url, 1)
	c.http.Timeout, c.waits = patience, &waits{most: patience}
	return c
}

// startQuash runs quash until the test ends.
func startQuash(t testing.TB, args ...string) *process {
	t.Helper()
	p, err := startProcess(quashCommand(args...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("quash %v:\n%s", args, p.output())
		}
	})
	return p
}
