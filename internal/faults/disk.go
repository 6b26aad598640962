package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/quash-auth/quash/events"
)

// smallDisk gives the last server a disk of its own that can be filled: a tmpfs,
// which needs the right to mount. Without it the faults that need it are not made.
func (w *world) smallDisk(dir string) error {
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=192m", "none", dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("no small disk for a server: %w: %s", err, out)
	}
	w.mounted = dir
	return nil
}

func (w *world) unmount() error {
	if w.mounted == "" {
		return nil
	}
	if out, err := exec.Command("umount", w.mounted).CombinedOutput(); err != nil {
		return fmt.Errorf("unmount: %w: %s", err, out)
	}
	return nil
}

// fill takes what is left of the small disk. At the end there is room again, and the
// operator restarts the server: nats-server turns JetStream off when a write fails.
func fill(lead bool) begin {
	return func(ctx context.Context, w *world) (grip, error) {
		if w.mounted == "" {
			return grip{}, errors.New("there is no small disk: mounting one is not allowed here")
		}
		s := w.servers[len(w.servers)-1]
		if err := w.lead(ctx, s, lead); err != nil {
			return grip{}, err
		}
		filler := filepath.Join(s.dir, "filler")
		f, err := os.Create(filler)
		if err != nil {
			return grip{}, err
		}
		for _, size := range []int{1 << 20, 1 << 12, 1} {
			for block := make([]byte, size); err == nil; _, err = f.Write(block) {
			}
			err = nil
		}
		return grip{
			felt: func(ctx context.Context) (string, error) { return s.unwell(ctx) },
			end: func(context.Context) error {
				err := errors.Join(f.Close(), os.Remove(filler))
				s.kill()
				return errors.Join(err, s.start())
			},
		}, nil
	}
}

// unwell wants a server to have lost its storage.
func (s *server) unwell(ctx context.Context) (string, error) {
	var storage struct {
		Disabled bool `json:"disabled"`
	}
	if err := s.ask(ctx, "/jsz", &storage); err != nil {
		return "", err
	}
	if storage.Disabled {
		return "the server has turned its storage off", nil
	}
	var health struct {
		Status string `json:"status"`
		Error  string `json:"error"`
	}
	if err := s.ask(ctx, "/healthz", &health); err != nil {
		return "", err
	}
	if health.Status == "ok" {
		return "", errors.New("the server is well")
	}
	return fmt.Sprintf("the server says %s: %s", health.Status, health.Error), nil
}

// lead asks for elections until a server leads the stream, or does not.
func (w *world) lead(ctx context.Context, s *server, want bool) error {
	ctx, cancel := context.WithTimeout(ctx, longPatience)
	defer cancel()
	return poll(ctx, 500*time.Millisecond, func() error {
		leader, _, err := w.roles(ctx)
		if err != nil {
			return err
		}
		if (leader == s) == want {
			return nil
		}
		if _, err := w.conn.RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+events.StreamName, nil); err != nil {
			return err
		}
		return fmt.Errorf("%s leads", leader.name)
	})
}

var diskFaults = []fault{
	{name: "disk of a follower slow, 100 ms", needs: slowServers, hold: 10 * time.Second, begin: slow(following, 100*time.Millisecond, 0, quickest)},
	{name: "disk of the leader slow, 30 ms", needs: slowServers, hold: 10 * time.Second, begin: slow(leading, 30*time.Millisecond, 30*time.Millisecond, median)},
	{name: "disk of the leader slow, 1 s", needs: slowServers, hold: 15 * time.Second, begin: slow(leading, time.Second, time.Second, slowest)},
	{name: "disks of all servers slow, 300 ms", needs: slowServers, hold: 15 * time.Second, begin: slow(every, 300*time.Millisecond, 300*time.Millisecond, median)},
	{name: "disks of all servers slow to read, 50 ms; leader and nodes killed and started", needs: slowServers, hold: 8 * time.Second, begin: slowToRead(50 * time.Millisecond)},
	{name: "disk of a follower full", hold: 8 * time.Second, begin: fill(false)},
	{name: "disk of the leader full", hold: 8 * time.Second, begin: fill(true)},
}
