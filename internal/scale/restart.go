package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/quash-auth/quash/events"
)

// livingConfig is a stream with many statements that all end within one minute.
type livingConfig struct {
	Statements int
	Dir        string
	End        time.Time // when the first of them ends
	Relax      bool      // the server does not sync each removal while they end
}

// livingResult is what they cost server and node.
type livingResult struct {
	livingConfig
	Fill                  time.Duration
	ServerStart           time.Duration // of a server with this store, killed before, until the stream answers
	ServerRSS, ServerHeap int64
	Disk                  int64
	Replay                []time.Duration // from the start of the process until the node is ready
	NodeRSS, NodeHeap     int64           // beyond those of a node without statements
	Lean                  int64           // heap with a budget for details
	WarmReady             []time.Duration // the same with a snapshot
	WarmFresh             []time.Duration // until it has also read the stream
	Snapshot              int64           // bytes of the file
}

func (c livingConfig) bus(ctx context.Context, relax bool) (*bus, error) {
	return startBus(ctx, busConfig{Topology: topoOne, Dir: c.Dir, Bytes: 8 << 30, Relax: relax})
}

// fill stores the statements. It goes on where one ended that was interrupted.
func (c livingConfig) fill(ctx context.Context) (took time.Duration, err error) {
	b, err := c.bus(ctx, true)
	defer func() { err = errors.Join(err, b.close()) }()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	stream, err := b.js.Stream(ctx, events.StreamName)
	if err != nil {
		return 0, err
	}
	rs := make([]events.Revocation, 0, 50_000)
	for k := int(stream.CachedInfo().State.Msgs); k < c.Statements; {
		for rs = rs[:0]; len(rs) < cap(rs) && k < c.Statements; k++ {
			rs = append(rs, livingEvent(k, c.End))
		}
		if _, err := b.pub.PublishAll(ctx, rs, nil); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

// restarts starts the server and then nodes, again and again.
func (c livingConfig) restarts(ctx context.Context, runs int) (r livingResult, err error) {
	r.livingConfig = c
	b, err := c.bus(ctx, false)
	defer func() { err = errors.Join(err, b.close()) }()
	if err != nil {
		return r, err
	}
	if r.ServerStart, err = c.restartServer(ctx, b); err != nil {
		return r, err
	}
	v, err := sumVitals(b.servers, vitalsOf{Collect: true})
	if err != nil {
		return r, err
	}
	r.ServerRSS, r.ServerHeap = v.RSS, v.Heap
	if r.Disk, err = sizeOf(c.Dir); err != nil {
		return r, err
	}
	for n := range runs {
		ready, _, v, err := startNode(b, nodesConfig{}, c.Statements, false)
		if err != nil {
			return r, err
		}
		r.Replay = append(r.Replay, ready)
		if n == 0 {
			r.NodeRSS, r.NodeHeap = v.RSS, v.Heap
		}
	}
	_, _, v, err = startNode(b, nodesConfig{Budget: 16 * int64(c.Statements)}, c.Statements, false)
	if err != nil {
		return r, err
	}
	r.Lean = v.Heap
	warm := nodesConfig{Snapshot: filepath.Join(c.Dir, "snapshot")}
	_ = os.Remove(warm.Snapshot) // of an earlier run, or there is none
	for n := range runs + 1 {
		ready, fresh, _, err := startNode(b, warm, c.Statements, true)
		if err != nil {
			return r, err
		}
		if n > 0 { // the first one writes it
			r.WarmReady, r.WarmFresh = append(r.WarmReady, ready), append(r.WarmFresh, fresh)
		}
	}
	info, err := os.Stat(warm.Snapshot)
	if err == nil {
		r.Snapshot = info.Size()
	}
	return r, err
}

// restartServer kills the server and starts it again, until the stream answers.
func (c livingConfig) restartServer(ctx context.Context, b *bus) (time.Duration, error) {
	began := time.Now()
	if err := b.restart(); err != nil {
		return 0, err
	}
	for ctx.Err() == nil {
		actx, cancel := context.WithTimeout(ctx, time.Second)
		s, err := b.js.Stream(actx, events.StreamName)
		cancel()
		if err == nil {
			if n := int(s.CachedInfo().State.Msgs); n < c.Statements {
				return 0, fmt.Errorf("the stream has %d messages after the restart, %d statements were acknowledged", n, c.Statements)
			}
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(began), ctx.Err()
}

// startNode starts a process with one node and returns how long it took until it was
// ready and until its view was newer than its start. wait: let it write a mark of its
// snapshot before it is killed.
func startNode(b *bus, conf nodesConfig, want int, wait bool) (ready, fresh time.Duration, v vitals, err error) {
	began := time.Now()
	c, err := spawn("node", "nodes", 0)
	if err != nil {
		return 0, 0, v, err
	}
	defer c.kill()
	conf.URL, conf.Kind, conf.Prefix, conf.Count = b.urls[0], kindFeed, "node", 1
	if err := c.call("add", conf, nil); err != nil {
		return 0, 0, v, err
	}
	ready = time.Since(began)
	if err := c.call("fresh", began, nil); err != nil {
		return 0, 0, v, err
	}
	fresh = time.Since(began)
	var held int
	if err := c.call("entries", struct{}{}, &held); err != nil {
		return 0, 0, v, err
	}
	if held < want {
		return 0, 0, v, fmt.Errorf("the node was ready with %d of %d statements", held, want)
	}
	if wait {
		time.Sleep(2500 * time.Millisecond)
		return ready, fresh, v, nil
	}
	return ready, fresh, v, c.call("vitals", vitalsOf{Collect: true}, &v)
}

func sizeOf(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if path != dir && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the server has put another one in its place
		}
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}
