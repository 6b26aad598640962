package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/quash-auth/quash/internal/ports"
)

// process is a child that can be killed without warning and started again, and whose CPU time can be read.
type process struct {
	name    string
	make    func() *exec.Cmd
	ready   func() error // asked until it returns nil
	cmd     *exec.Cmd
	ended   chan struct{}
	stdin   io.WriteCloser // a node ends when it is closed
	address string         // what a node said it listens on
}

const patience = 20 * time.Second

func (p *process) start() error {
	p.cmd = p.make()
	if p.cmd.SysProcAttr == nil {
		p.cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	p.cmd.SysProcAttr.Setpgid = true
	if p.cmd.Stderr == nil {
		p.cmd.Stderr = os.Stderr
	}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	cmd, ended := p.cmd, make(chan struct{})
	p.ended = ended
	go func() { _ = cmd.Wait(); close(ended) }()
	if p.ready == nil {
		return nil
	}
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if err = p.ready(); err == nil {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("%s ended at its start", p.name)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s is not ready after %v: %w", p.name, patience, err)
}

// kill ends it and everything it started with SIGKILL, and waits.
func (p *process) kill() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

// cpu is the time its process group has used so far, of ended children too: what getrusage would say of each, as the
// kernel shows it to others, in ticks of 10 ms.
func (p *process) cpu() (time.Duration, error) {
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	var ticks int64
	for _, path := range all {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		rest := string(text[strings.LastIndexByte(string(text), ')')+1:])
		f := strings.Fields(rest) // from field 3, the state, on
		if len(f) < 15 || f[2] != strconv.Itoa(p.cmd.Process.Pid) {
			continue
		}
		fields := f[11:13] // utime, stime
		if f[1] == strconv.Itoa(os.Getpid()) {
			fields = f[11:15] // and those of the children it has waited for
		}
		for _, v := range fields {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read %s: %w", path, err)
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * (time.Second / 100), nil
}

// unprivileged makes a command run as somebody else than root, and gives dir to that user.
func unprivileged(cmd *exec.Cmd, dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return err
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2, os.Chown(dir, uid, gid)); err != nil {
		return err
	}
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return nil
}

func freePort() (int, error) {
	got, err := ports.Take(1)
	if err != nil {
		return 0, err
	}
	return got[0], nil
}

// program finds a program, or says which package has it.
func program(name, pkg string, globs ...string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, g := range globs {
		if found, _ := filepath.Glob(g); len(found) > 0 {
			return found[len(found)-1], nil
		}
	}
	return "", fmt.Errorf("%s is not here; on Debian: apt-get install %s", name, pkg)
}

// firstLine reads what a child says when it is ready.
func firstLine(r io.Reader) (string, error) {
	s := bufio.NewScanner(r)
	if !s.Scan() {
		return "", errors.Join(errors.New("it said nothing"), s.Err())
	}
	line := s.Text()
	go func() { _, _ = io.Copy(io.Discard, r) }()
	return line, nil
}
