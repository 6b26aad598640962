package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// turn is one contender's part of a round: load, then some revocations.
func (w *world) turn(ctx context.Context, c *contender, round int) error {
	if err := w.waitFor(c, w.tokens[0], http.StatusOK, patience); err != nil {
		return err
	}
	if _, err := w.load(c, w.warm); err != nil {
		return err
	}
	before, err := c.cpuNow()
	if err != nil {
		return err
	}
	start := time.Now()
	times, err := w.load(c, w.slice)
	took := time.Since(start)
	if err != nil {
		return err
	}
	after, err := c.cpuNow()
	if err != nil {
		return err
	}
	c.rates = append(c.rates, float64(len(times))/took.Seconds())
	c.times = append(c.times, times...)
	c.requests += len(times)
	c.cpu += after - before
	if c.revoke == nil {
		return nil
	}
	return w.reject(ctx, c, share(w.revocations, w.rounds, round))
}

// share is how many of n things belong to one of so many rounds.
func share(n, rounds, round int) int { return n*(round+1)/rounds - n*round/rounds }

// cpuNow is the CPU time of the contender's process and of what it asks.
func (c *contender) cpuNow() (sum time.Duration, err error) {
	for _, p := range append([]*process{c.node}, c.stores...) {
		d, err := p.cpu()
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

// client is one connection that asks as cheaply as possible: it shares the machine with what is measured.
type client struct {
	conn net.Conn
	r    *bufio.Reader
	out  []byte
}

func open(addr string) (*client, error) {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, r: bufio.NewReader(conn)}, nil
}

// ask returns the status of one answer.
func (c *client) ask(raw string, limit time.Duration) (int, error) {
	if err := c.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return 0, err
	}
	c.out = append(append(append(c.out[:0], "GET /secure HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer "...), raw...), "\r\n\r\n"...)
	if _, err := c.conn.Write(c.out); err != nil {
		return 0, err
	}
	status, length := 0, 0
	for first := true; ; first = false {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if first {
			if len(line) < 12 {
				return 0, fmt.Errorf("answer: %q", line)
			}
			if status, err = strconv.Atoi(string(line[9:12])); err != nil {
				return 0, err
			}
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(v))); err != nil {
				return 0, err
			}
		}
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
	}
	_, err := io.CopyN(io.Discard, c.r, int64(length))
	return status, err
}

// load asks over all connections at once, each as fast as it is answered, and demands 200.
func (w *world) load(c *contender, d time.Duration) ([]time.Duration, error) {
	clients := make([]*client, w.connections)
	for i := range clients {
		one, err := open(c.node.address)
		if err != nil {
			return nil, err
		}
		defer one.conn.Close()
		clients[i] = one
	}
	var wg sync.WaitGroup
	times := make([][]time.Duration, w.connections)
	errs := make([]error, w.connections)
	deadline := time.Now().Add(d)
	for n, one := range clients {
		wg.Go(func() {
			for i, at := n, time.Now(); at.Before(deadline); i += w.connections {
				status, err := one.ask(w.tokens[i%len(w.tokens)], patience)
				if err == nil && status != http.StatusOK {
					err = fmt.Errorf("a good token was answered %d", status)
				}
				if err != nil {
					errs[n] = err
					return
				}
				now := time.Now()
				times[n] = append(times[n], now.Sub(at))
				at = now
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return slices.Concat(times...), nil
}

// reject revokes tokens one after the other and asks with each until it is refused.
func (w *world) reject(ctx context.Context, c *contender, n int) error {
	one, err := open(c.node.address)
	if err != nil {
		return err
	}
	defer one.conn.Close()
	for range n {
		raw := c.fresh[0]
		c.fresh, c.revoked = c.fresh[1:], raw
		if status, err := one.ask(raw, patience); err != nil || status != http.StatusOK {
			return fmt.Errorf("before it was revoked: %d %w", status, err)
		}
		start := time.Now()
		acked := make(chan error, 1)
		go func() {
			err := c.revoke(ctx, raw)
			c.acks = append(c.acks, time.Since(start))
			acked <- err
		}()
		for {
			status, err := one.ask(raw, patience)
			if err != nil {
				return err
			}
			if status == http.StatusUnauthorized {
				break
			}
			if time.Since(start) > patience {
				return fmt.Errorf("a revoked token is still answered %d after %v", status, patience)
			}
		}
		took := time.Since(start)
		if err := <-acked; err != nil {
			return fmt.Errorf("revoke: %w", err)
		}
		c.rejects = append(c.rejects, took)
	}
	return nil
}

// waitFor asks until the answer is that.
func (w *world) waitFor(c *contender, raw string, want int, limit time.Duration) error {
	for start := time.Now(); ; {
		status := askOnce(c, raw, limit)
		if status == want {
			return nil
		}
		if time.Since(start) > limit {
			return fmt.Errorf("%s: got %d for %v, want %d", c.name, status, limit, want)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// askOnce opens a connection for one question. 0 means no answer.
func askOnce(c *contender, raw string, limit time.Duration) int {
	one, err := open(c.node.address)
	if err != nil {
		return 0
	}
	defer one.conn.Close()
	status, err := one.ask(raw, limit)
	if err != nil {
		return 0
	}
	return status
}

func quantile[T interface{ ~int64 | ~float64 }](v []T, q float64) T {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return v[min(int(q*float64(len(v))), len(v)-1)]
}
