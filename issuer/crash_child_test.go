package issuer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/issuer"
)

// A crash child is this test binary again, as a process of its own: an issuer that ends itself with SIGKILL immediately before
// the n-th message that would change anything (a record, a statement), or, with everything done, before its answer. What the
// world can see of an issuer changes by these messages and by its answers only, so killing it there is killing it at every
// instruction.

const (
	crashChild    = "QUASH_CRASH_CHILD"
	crashTimeout  = 15 * time.Second
	crashPatience = 20 * time.Millisecond // nobody who was killed is still at it
)

type childConfig struct {
	NATS, KeysDir, ClientsFile string
	Replicas                   int
}

// fuse kills the process after so many messages; 0 is never, -1 before the next answer.
type fuse struct {
	mu     sync.Mutex // guards what follows
	left   int
	passed []string // steps of the two halves since it was set
}

func (f *fuse) set(n int) (passed []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	passed, f.passed, f.left = f.passed, nil, n
	return passed
}

func (f *fuse) message() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left > 0 {
		if f.left--; f.left == 0 {
			die()
		}
	}
}

// answer is called before one goes out. What got through is not killed afterwards, by a message of the repair.
func (f *fuse) answer(through bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left < 0 {
		die()
	}
	if through {
		f.left = 0
	}
}

func (f *fuse) step(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.passed = append(f.passed, name)
	return nil
}

func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // nothing more happens here
}

// Dial gives connections that count.
func (f *fuse) Dial(network, address string) (net.Conn, error) {
	c, err := net.DialTimeout(network, address, 5*time.Second)
	return &counted{Conn: c, fuse: f}, err
}

// counted takes what the NATS client writes apart into its messages.
type counted struct {
	net.Conn
	fuse *fuse
	rest []byte
}

func (c *counted) Write(p []byte) (int, error) {
	c.rest = append(c.rest, p...)
	for {
		size, subject := firstMessage(c.rest)
		if size == 0 {
			return len(p), nil
		}
		if strings.HasPrefix(subject, "$KV.QUASH_ISSUER.") || strings.HasPrefix(subject, "quash.v1.session-revoked.") {
			c.fuse.message()
		}
		if _, err := c.Conn.Write(c.rest[:size]); err != nil {
			return 0, err
		}
		c.rest = c.rest[size:]
	}
}

// firstMessage is the length of the first whole one, and the subject if it publishes something.
func firstMessage(b []byte) (size int, subject string) {
	end := bytes.Index(b, []byte("\r\n"))
	if end < 0 {
		return 0, ""
	}
	size = end + 2
	words := strings.Fields(string(b[:end]))
	if len(words) > 2 && (words[0] == "PUB" || words[0] == "HPUB") {
		n, err := strconv.Atoi(words[len(words)-1])
		if err != nil {
			return 0, ""
		}
		size, subject = size+n+2, words[1]
	}
	if len(b) < size {
		return 0, ""
	}
	return size, subject
}

// runCrashChild serves until its parent is gone. Its first line of output is its URL.
func runCrashChild(config string) error {
	var c childConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return err
	}
	f := &fuse{}
	nc, err := nats.Connect(c.NATS, nats.Timeout(deadline), nats.SetCustomDialer(f), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		return err
	}
	cfg := issuer.Config{
		Issuer: iss, Audience: []string{"https://api.example"}, KeysDir: c.KeysDir, Replicas: c.Replicas, EnsureStream: true, Conn: nc, Node: "child",
		Argon2: issuer.Argon2{Memory: 64, Time: 1}, Timeout: crashTimeout, WideBurst: 1000, LoginBurst: 1000, BeaconInterval: beaconInterval,
		RepairInterval: 2 * time.Second, // a machine may be too busy for the repair at the start
		ClientsFile:    c.ClientsFile,
	}
	crashClients(&cfg)
	i, err := issuer.New(context.Background(), cfg)
	for end := time.Now().Add(deadline); errors.Is(err, issuer.ErrUnavailable) && time.Now().Before(end); { // see startWith
		i, err = issuer.New(context.Background(), cfg)
	}
	if err != nil {
		return err
	}
	issuer.SetFault(i, f.step)
	issuer.SetPatience(i, crashPatience)
	go func() { _ = i.Run(context.Background()) }() // ends with the process
	mux := http.NewServeMux()
	mux.HandleFunc("POST /fuse", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("n"))
		_ = json.NewEncoder(w).Encode(f.set(n))
	})
	mux.HandleFunc("POST /patience", func(_ http.ResponseWriter, r *http.Request) {
		d, _ := time.ParseDuration(r.FormValue("d"))
		issuer.SetPatience(i, d)
	})
	do := func(path string, act func(r *http.Request) error) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			err := act(r)
			f.answer(err == nil)
			if err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			fmt.Fprint(w, `{}`)
		})
	}
	do("/do/disable", func(r *http.Request) error { return i.Disable(r.Context(), r.FormValue("sub"), issuer.Cause{}) })
	do("/do/password", func(r *http.Request) error {
		return i.SetPassword(r.Context(), r.FormValue("sub"), password+" new", issuer.Cause{})
	})
	do("/do/reload", func(r *http.Request) error { return i.Reload(r.Context()) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		held := httptest.NewRecorder()
		i.Handler().ServeHTTP(held, r)
		f.answer(held.Code != http.StatusServiceUnavailable)
		for name, values := range held.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(held.Code)
		_, _ = w.Write(held.Body.Bytes())
	})
	web := httptest.NewServer(mux)
	for i.Ready() != nil {
		<-time.After(2 * time.Millisecond)
	}
	fmt.Println(web.URL)
	_, err = io.Copy(io.Discard, os.Stdin) // until the parent closes it
	return err
}
