package main

import (
	"context"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// part is one process of a world. It may be killed and started again.
type part struct {
	w       *world
	address string
	args    []string
	process *process
	earlier []*process
}

// start runs quash; the world stops it.
func (w *world) start(address string, args ...string) *part {
	w.t.Helper()
	p := &part{w: w, address: address, args: args}
	p.start()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.parts = append(w.parts, p)
	return p
}

// start starts it again after a kill.
func (p *part) start() {
	p.w.t.Helper()
	next, err := startProcess(quashCommand(p.args...))
	if err != nil {
		p.w.t.Fatal(err)
	}
	if p.process != nil {
		p.earlier = append(p.earlier, p.process)
	}
	p.process = next
}

func (p *part) url() string { return "http://" + p.address }

// ready waits until it says so.
func (p *part) ready() {
	p.w.t.Helper()
	ended := p.process.done
	failed := waitStatusUnless(p.url()+"/readyz", 200, ended)
	if failed != nil {
		p.w.t.Fatalf("quash %s: %v\n%s", p.args[0], failed, p.process.output())
	}
}

// waitStatusUnless gives up as soon as the process has ended.
func waitStatusUnless(url string, want int, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	go func() {
		select {
		case <-ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	return poll(ctx, func() error { return askStatus(ctx, url, "", want) })
}

// kill is SIGKILL.
func (p *part) kill() { p.process.kill() }

func (p *part) output() string {
	var all strings.Builder
	for _, old := range p.earlier {
		all.WriteString(old.output())
	}
	all.WriteString(p.process.output())
	return all.String()
}

func (p *part) ended() bool {
	select {
	case <-p.process.done:
		return true
	default:
		return false
	}
}

// quash runs a command of the binary against this world's NATS to its end, and
// gives what it printed. Flags of NATS come by the environment.
func (w *world) quash(args ...string) (string, error) {
	cmd := quashCommand(args...)
	cmd.Env = append(cmd.Environ(), "QUASH_NATS="+w.nats)
	return w.run(cmd)
}

func (w *world) run(cmd *exec.Cmd) (string, error) {
	p, err := startProcess(cmd)
	if err != nil {
		return "", err
	}
	w.mu.Lock()
	w.parts = append(w.parts, &part{w: w, args: cmd.Args[1:], process: p})
	w.mu.Unlock()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.kill()
	}
	return p.output(), p.err
}

// close stops everything, and looks whether anything was said or stored that must
// not be. What ran on its own and has ended by itself (a crash in the test) is no
// mistake here.
func (w *world) close() {
	w.t.Helper()
	if w.conn != nil { // else it never came up
		w.scanStreams()
		w.conn.Close()
	}
	w.client.CloseIdleConnections()
	for _, roles := range [][]*part{w.of("api"), w.of("issuer", "up"), w.parts} {
		var all sync.WaitGroup
		for _, p := range roles {
			if p.ended() {
				continue
			}
			all.Go(func() {
				if err := p.process.interrupt(); err != nil {
					w.t.Errorf("quash %s does not stop cleanly: %v", p.args[0], err)
				}
			})
		}
		all.Wait()
	}
	for _, p := range w.parts {
		out := p.output()
		for _, problem := range w.scan(out) {
			w.t.Errorf("the output of quash %s: %s", p.args[0], problem)
		}
		if w.t.Failed() {
			w.t.Logf("quash %s at %s:\n%s", p.args[0], p.address, w.redact(lastLines(out, 120)))
		}
	}
}

func (w *world) of(roles ...string) []*part {
	var found []*part
	for _, p := range w.parts {
		for _, role := range roles {
			if p.args[0] == role {
				found = append(found, p)
			}
		}
	}
	return found
}

func lastLines(text string, n int) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
