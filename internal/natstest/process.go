package natstest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/internal/ports"
)

// Process is a nats-server in a process of its own, which can be killed without
// warning and frozen. Its methods are for one goroutine.
type Process struct {
	t      testing.TB
	binary string
	dir    string
	port   int
	stderr bytes.Buffer
	cmd    *exec.Cmd
	exited chan struct{}
}

// StartProcess runs a server with its store in dir until the test ends. Port 0
// chooses a free one. It returns when JetStream answers.
func StartProcess(t testing.TB, dir string, port int) *Process {
	t.Helper()
	binary, err := buildOnce()
	if err != nil {
		t.Fatalf("build natsd: %v", err)
	}
	if port == 0 {
		port = FreePorts(t, 1)[0]
	}
	p := &Process{t: t, binary: binary, dir: dir, port: port}
	t.Cleanup(p.Kill)
	p.start(t)
	return p
}

func (p *Process) start(t testing.TB) {
	t.Helper()
	p.stderr.Reset()
	p.cmd = exec.Command(p.binary, "-dir", p.dir, "-port", strconv.Itoa(p.port))
	p.cmd.Stderr = &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start natsd: %v", err)
	}
	cmd, exited := p.cmd, make(chan struct{})
	p.exited = exited
	go func() { // ends with the process, which Kill ends and waits for
		_ = cmd.Wait()
		close(exited)
	}()
	if err := p.ready(); err != nil {
		p.Kill()
		t.Fatalf("natsd on port %d: %v: %s", p.port, err, p.stderr.String())
	}
}

func (p *Process) ready() error {
	deadline := time.Now().Add(patience)
	for {
		nc, err := nats.Connect(p.URL(), nats.Timeout(time.Second))
		if err == nil {
			_, err = nc.Request("$JS.API.INFO", nil, 5*time.Second)
			nc.Close()
			if err == nil {
				return nil
			}
		}
		select {
		case <-p.exited:
			return fmt.Errorf("exited at the start")
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready after %v: %w", patience, err)
		}
	}
}

// Kill ends the process with SIGKILL and waits until it is gone. Killing twice
// is harmless; a frozen process dies too.
func (p *Process) Kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // gone already is fine
	<-p.exited
}

// Pause freezes the server, see Freeze.
func (p *Process) Pause() {
	p.t.Helper()
	Freeze(p.t, p.cmd.Process)
}

// Freeze stops a process in its tracks (SIGSTOP): connections stay open, nothing
// answers. It returns when every thread has stopped, which the signal alone does
// not promise, where the system can tell (Linux).
func Freeze(t testing.TB, p *os.Process) {
	t.Helper()
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatalf("signal process %d: %v", p.Pid, err)
	}
	deadline := time.Now().Add(patience)
	for !stopped(p.Pid) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d does not freeze", p.Pid)
		}
		<-time.After(time.Millisecond)
	}
}

// stopped reports whether all threads of a process stand still.
func stopped(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return true
	}
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		if err != nil {
			continue // it has ended
		}
		// pid (name) state …; the name may contain anything.
		if i := bytes.LastIndexByte(stat, ')'); i < 0 || i+2 >= len(stat) || stat[i+2] != 'T' {
			return false
		}
	}
	return true
}

// Resume lets a frozen process go on.
func (p *Process) Resume() { p.signal(syscall.SIGCONT) }

func (p *Process) signal(s syscall.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Errorf("send %v to natsd: %v", s, err)
	}
}

// Restart kills the process if it runs and starts it again on the same port and
// directory.
func (p *Process) Restart(t testing.TB) {
	t.Helper()
	p.Kill()
	p.start(t)
}

// URL returns the address for clients.
func (p *Process) URL() string { return "nats://127.0.0.1:" + strconv.Itoa(p.port) }

// Port returns the port for clients.
func (p *Process) Port() int { return p.port }

// Dir returns the store's directory.
func (p *Process) Dir() string { return p.dir }

// Connect connects to the server; the connection is closed when the test ends.
func (p *Process) Connect(t testing.TB, opts ...nats.Option) *nats.Conn {
	t.Helper()
	return connect(t, p.URL(), opts...)
}

// FreePorts returns n different ports on 127.0.0.1 that nobody else takes.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	got, err := ports.Take(n)
	if err != nil {
		t.Fatal(err)
	}
	return got
}
