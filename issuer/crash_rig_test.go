package issuer_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// child is a crash child, seen from outside.
type child struct {
	rig    *rig // only for its HTTP methods, at the child's URL
	base   string
	cmd    *exec.Cmd
	stdin  io.Closer
	exited chan struct{}
}

// startChild starts one and waits until it is ready.
func startChild(t testing.TB, natsURL, keysDir string, replicas int) *child {
	t.Helper()
	return startChildOf(t, childConfig{NATS: natsURL, KeysDir: keysDir, Replicas: max(1, replicas)})
}

func startChildOf(t testing.TB, cfg childConfig) *child {
	t.Helper()
	config, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: exec.Command(os.Args[0]), exited: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), crashChild+"="+string(config))
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.end)
	line, err := bufio.NewReader(out).ReadString('\n')
	go func() {
		_ = c.cmd.Wait()
		close(c.exited)
	}()
	if err != nil {
		t.Fatalf("a child does not come up: %v", err)
	}
	c.base = strings.TrimSpace(line)
	c.rig = &rig{t: t, url: c.base + "/auth"}
	return c
}

// end stops one that may be dead.
func (c *child) end() {
	_ = c.cmd.Process.Kill()
	_ = c.stdin.Close()
	<-c.exited
}

// dead reports whether it has killed itself: waits if it is about to have.
func (c *child) dead(a answer) bool {
	if a.networkError == nil {
		return false
	}
	<-c.exited
	return true
}

// set sets the fuse and gives the steps that were passed since the last time.
func (c *child) set(n int) []string {
	c.rig.t.Helper()
	res, err := http.PostForm(c.base+"/fuse", url.Values{"n": {strconv.Itoa(n)}})
	if err != nil {
		c.rig.t.Fatal(err)
	}
	defer res.Body.Close()
	var passed []string
	if err := json.NewDecoder(res.Body).Decode(&passed); err != nil {
		c.rig.t.Fatal(err)
	}
	return passed
}

// do is what has no endpoint.
func (c *child) do(what, sub string) answer {
	c.rig.t.Helper()
	return c.rig.do(&http.Request{Method: "POST", URL: &url.URL{Scheme: "http", Host: strings.TrimPrefix(c.base, "http://"), Path: "/do/" + what,
		RawQuery: url.Values{"sub": {sub}}.Encode()}, Header: http.Header{}})
}

// crashRun is one operation that is killed once.
type crashRun struct {
	*rig          // the replica that lives on
	child  *child // the one that dies
	user   issuer.User
	s      answer // the user's session, with its newest tokens
	old    answer // its tokens before the last refresh
	admin  answer
	kid    string
	made   made
	before map[string]bool // statements that were there
}

// state is what everybody can see of the session after a crash.
type state struct{ refresh, access, statement bool }

// settle waits until nothing is left to repair.
func (c *crashRun) settle() {
	c.t.Helper()
	until(c.t, "every intent is published", func() bool {
		n, err := issuer.Pointers(c.t.Context(), c.Issuer)
		return err == nil && n == 0
	})
}

// patience is how long both replicas let a change of an account be under way before they take it for one that was cut off.
func (c *crashRun) patience(d time.Duration) {
	issuer.SetPatience(c.Issuer, d)
	if res, err := http.PostForm(c.child.base+"/patience", url.Values{"d": {d.String()}}); err == nil { // else it has killed itself
		res.Body.Close()
	}
}

// statement finds one that is new.
func (c *crashRun) statement(scope events.Scope, key string) bool {
	c.t.Helper()
	for _, s := range c.statements() {
		if !c.before[s.ID] && s.Scope == scope && s.Key == key {
			return true
		}
	}
	return false
}

// look uses the refresh token: afterwards c.s has the next.
func (c *crashRun) look(scope events.Scope, key string) state {
	c.t.Helper()
	access := c.s.Access
	now := state{access: issuer.Verify(c.Issuer, access) == nil}
	a := patient(c.t, func() answer { return c.refresh(c.s.Refresh) })
	if now.refresh = a.status == 200; now.refresh {
		c.s = a
	} else {
		c.want("a refresh", a, 400, "invalid_grant")
	}
	if now.statement = c.statement(scope, key); now.statement && now.access { // it is on its way to us
		until(c.t, "the statement arrives", func() bool { return issuer.Verify(c.Issuer, access) != nil })
		now.access = false
	}
	return now
}

// tally counts over parallel subtests.
type tally struct {
	mu     sync.Mutex // guards what follows
	kills  int
	alarms int // a refresh that was tried again and taken for theft
	ops    int
	steps  map[string]bool
}

func (y *tally) done() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.ops++
}

func (y *tally) add(kills, alarms int, steps ...string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.kills += kills
	y.alarms += alarms
	for _, s := range steps {
		y.steps[s] = true
	}
}
