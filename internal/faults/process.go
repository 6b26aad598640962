package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// process is a child that can be killed, frozen and started again. Its methods
// are for one goroutine.
type process struct {
	name  string
	args  []string // args[0] is the binary
	env   []string
	cmd   *exec.Cmd
	over  chan struct{}
	began time.Time // the first time
	said  tail
}

// tail keeps the end of what a process prints.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if n := len(t.text) - 64<<10; n > 0 {
		t.text = t.text[n:]
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.text))
}

func (p *process) start() error {
	if p.alive() {
		return nil
	}
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	orphan(p.cmd)
	if p.began.IsZero() {
		p.began = time.Now()
	}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	cmd, over := p.cmd, make(chan struct{})
	p.over = over
	go func() { // ends with the process, which kill ends and waits for
		_ = cmd.Wait()
		close(over)
	}()
	return nil
}

func (p *process) alive() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.over:
		return false
	default:
		return true
	}
}

// kill is SIGKILL, and waits. It may be called again.
func (p *process) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill() // gone already is fine
		<-p.over
	}
}

// shoot is kill of somebody who must be alive before it and must die of it.
func (p *process) shoot() error {
	if err := p.err(); err != nil {
		return err
	}
	p.kill()
	if st, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !st.Signaled() {
		return fmt.Errorf("%s has ended of itself: %v", p.name, p.cmd.ProcessState)
	}
	return nil
}

func (p *process) freeze() error { return p.signal(syscall.SIGSTOP) }
func (p *process) thaw() error   { return p.signal(syscall.SIGCONT) }

func (p *process) signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to %s: %w", s, p.name, err)
	}
	return nil
}

// err says if it has ended by itself.
func (p *process) err() error {
	if p.alive() {
		return nil
	}
	return fmt.Errorf("%s %w: %v: %s", p.name, errEnded, p.cmd.ProcessState, p.said.String())
}

// errEnded: nobody starts it again, so there is nothing to wait for.
var errEnded = errors.New("has ended by itself")
