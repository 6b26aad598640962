package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/quash-auth/quash/internal/ports"
)

// monitored gives a server an address at which it says what it holds.
func (s *server) monitored() error {
	address, err := ports.Address()
	if err != nil {
		return err
	}
	s.monitor = address
	s.env = append(s.env, "QUASH_NATSD_MONITOR="+port(address))
	return nil
}

// ask reads what a server says of itself.
func (s *server) ask(ctx context.Context, path string, into any) error {
	text, err := s.read(ctx, path)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

func (s *server) read(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.monitor+path, nil)
	if err != nil {
		return nil, err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(resp.Body)
	return text, errors.Join(err, resp.Body.Close())
}

// client is one connection, as its server sees it.
type client struct {
	Name          string    `json:"name"`
	Subscriptions int       `json:"subscriptions"`
	Start         time.Time `json:"start"`
	User          string    `json:"authorized_user"`
}

// clients are the connections of everybody but the driver, at all servers.
func (w *world) clients(ctx context.Context) (all []client, err error) {
	for _, s := range w.servers {
		var c struct {
			Connections []client `json:"connections"`
		}
		if err := s.ask(ctx, "/connz?limit=100000&auth=1", &c); err != nil {
			return nil, err
		}
		for _, one := range c.Connections {
			if one.Name != driverName {
				all = append(all, one)
			}
		}
	}
	return all, nil
}

// holding is what the servers hold for all of their clients, and their processes altogether.
type holding struct {
	connections   map[string]int // by the name of the client
	subscriptions map[string]int
	goroutines    int
	files         int
	memory        int // bytes, resident
}

// holds asks all servers until they answer and hold what fits.
func (w *world) holds(ctx context.Context, fit func(holding) error) (h holding, err error) {
	ctx, cancel := w.patient(ctx)
	defer cancel()
	err = poll(ctx, 200*time.Millisecond, func() error {
		seen, err := w.holding(ctx)
		if err != nil {
			return err
		}
		h = seen
		return fit(h)
	})
	return h, err
}

// holding asks all servers.
func (w *world) holding(ctx context.Context) (h holding, err error) {
	all, err := w.clients(ctx)
	if err != nil {
		return h, err
	}
	h = holding{connections: map[string]int{}, subscriptions: map[string]int{}}
	for _, c := range all {
		h.connections[c.Name]++
		h.subscriptions[c.Name] += c.Subscriptions
	}
	for _, s := range w.servers {
		stacks, err := s.read(ctx, "/stacksz")
		if err != nil {
			return h, err
		}
		h.goroutines += bytes.Count(stacks, []byte("\ngoroutine ")) + 1
		files, memory := s.proc()
		h.files, h.memory = h.files+files, h.memory+memory
	}
	return h, nil
}

// proc is how many files a process has open, and its resident bytes. 0: the system does not say.
func (p *process) proc() (files, memory int) {
	dir := "/proc/" + strconv.Itoa(p.cmd.Process.Pid)
	open, _ := os.ReadDir(dir + "/fd")
	status, _ := os.ReadFile(dir + "/status")
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			if kb, err := strconv.Atoi(strings.Fields(rest)[0]); err == nil {
				memory = kb << 10
			}
		}
	}
	return len(open), memory
}

// more says what the servers hold of what they did not hold before: exactly the connections of those who live, with
// their subscriptions. Goroutines, files and memory of a server come and go by a little.
func (h holding) more(before holding) error {
	for name, n := range h.connections {
		if was := before.connections[name]; n > was {
			return fmt.Errorf("the servers hold %d connections of %s, before %d", n, name, was)
		}
		if n, was := h.subscriptions[name], before.subscriptions[name]; n > was {
			return fmt.Errorf("the servers hold %d subscriptions of %s, before %d", n, name, was)
		}
	}
	for name, was := range before.connections {
		if n := h.connections[name]; n < was {
			return fmt.Errorf("the servers hold %d connections of %s, before %d", n, name, was)
		}
	}
	const (
		few  = 60
		room = 128 << 20
	)
	switch {
	case h.goroutines > before.goroutines+few:
		return fmt.Errorf("the servers have %d goroutines, before %d", h.goroutines, before.goroutines)
	case h.files > before.files+few:
		return fmt.Errorf("the servers have %d open files, before %d", h.files, before.files)
	case h.memory > before.memory+room:
		return fmt.Errorf("the servers hold %d MiB, before %d", h.memory>>20, before.memory>>20)
	}
	return nil
}

// sums are the numbers of all together.
func (h holding) sums() (connections, subscriptions int) {
	for name, n := range h.connections {
		connections, subscriptions = connections+n, subscriptions+h.subscriptions[name]
	}
	return connections, subscriptions
}

func (h holding) String() string {
	c, s := h.sums()
	return fmt.Sprintf("%d connections, %d subscriptions, %d goroutines, %d files, %d MiB", c, s, h.goroutines, h.files, h.memory>>20)
}
