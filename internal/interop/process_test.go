package interop

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quash-auth/quash/internal/ports"
)

// process is quash running as a child until the test ends.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended

	mu   sync.Mutex // guards what follows
	text strings.Builder
	more chan struct{} // closed and replaced at every new line
}

func startQuash(t testing.TB, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(binary, args...), done: make(chan struct{}), more: make(chan struct{})}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	err = p.cmd.Start()
	_ = w.Close() // the child has its own copy
	if err != nil {
		_ = r.Close()
		t.Fatalf("starting quash: %v", err)
	}
	go func() {
		defer close(p.done)
		p.read(r)
		_ = r.Close()
		_ = p.cmd.Wait() // ends with the pipe; how it ended is in its output
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // fails if it has ended
		<-p.done
		if t.Failed() {
			text, _ := p.output()
			t.Logf("quash %s:\n%s", args[0], text)
		}
	})
	return p
}

func (p *process) read(r io.Reader) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		p.mu.Lock()
		p.text.WriteString(lines.Text() + "\n")
		close(p.more)
		p.more = make(chan struct{})
		p.mu.Unlock()
	}
}

func (p *process) output() (string, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String(), p.more
}

// waitFor waits for output that matches and gives the first group.
func (p *process) waitFor(pattern string) (string, error) {
	want := regexp.MustCompile(pattern)
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for ended := p.done; ; {
		text, more := p.output()
		if found := want.FindStringSubmatch(text); found != nil {
			return found[1], nil
		}
		if ended == nil {
			return "", fmt.Errorf("it ended without a line %q", pattern)
		}
		select {
		case <-more:
		case <-ended:
			ended = nil // look once more: its last lines are there now
		case <-limit.C:
			return "", fmt.Errorf("no line %q within %v", pattern, patience)
		}
	}
}

// ready waits until it says that it is.
func (p *process) ready(t testing.TB, url string) {
	t.Helper()
	until(t, url+" answers 200", func() bool {
		select {
		case <-p.done:
			t.Fatal("it has ended")
		default:
		}
		res, err := http.Get(url)
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

func freeAddress(t testing.TB) string {
	t.Helper()
	a, err := ports.Address()
	if err != nil {
		t.Fatal(err)
	}
	return a
}
