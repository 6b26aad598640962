package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// loadConfig is traffic on some addresses.
type loadConfig struct {
	Addresses []string
	Tokens    []string // all of them good, and to stay so
	Workers   int
	Rate      float64 // requests a second of all workers together. 0: one after the other
}

// loadResult is what the requests of a while came to.
type loadResult struct {
	Took    time.Duration
	Latency quantiles // from when a request was due
	Status  map[int]int
	Failed  int // no answer
}

// load is the child that asks.
type load struct {
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex // guards what follows
	began   time.Time
	latency []time.Duration
	result  loadResult
}

func newLoad() *load {
	l := &load{}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

func (l *load) handlers() handlers {
	return handlers{"run": handle(l.run), "mark": handle(l.mark)}
}

func (l *load) close() {
	l.stop()
	l.wg.Wait()
}

func (l *load) run(c loadConfig) (struct{}, error) {
	l.reset()
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: c.Workers}}
	for w := range c.Workers {
		l.wg.Go(func() { l.work(c, client, w) })
	}
	return struct{}{}, nil
}

func (l *load) work(c loadConfig, client *http.Client, w int) {
	every := time.Duration(0)
	if c.Rate > 0 {
		every = time.Duration(float64(c.Workers) / c.Rate * 1e9)
	}
	due := time.Now().Add(every * time.Duration(w) / time.Duration(c.Workers))
	for i := w; l.ctx.Err() == nil; i++ {
		if every > 0 {
			time.Sleep(time.Until(due))
		} else {
			due = time.Now()
		}
		status, err := ask(l.ctx, client, c.Addresses[i%len(c.Addresses)], c.Tokens[i/len(c.Addresses)%len(c.Tokens)])
		took := time.Since(due)
		due = due.Add(every)
		l.mu.Lock()
		if err != nil {
			l.result.Failed++
		} else {
			l.result.Status[status]++
			l.latency = append(l.latency, took)
		}
		l.mu.Unlock()
	}
}

func (l *load) reset() {
	l.began, l.latency, l.result = time.Now(), nil, loadResult{Status: map[int]int{}}
}

// mark returns what has happened since the last mark: one request at least, also if the machine has stood still.
func (l *load) mark(struct{}) (loadResult, error) {
	l.mu.Lock()
	for len(l.latency)+l.result.Failed == 0 && l.ctx.Err() == nil {
		l.mu.Unlock()
		time.Sleep(time.Millisecond)
		l.mu.Lock()
	}
	r, latency := l.result, l.latency
	r.Took = time.Since(l.began)
	l.reset()
	l.mu.Unlock()
	r.Latency = quantilesOf(latency)
	return r, nil
}

func ask(ctx context.Context, client *http.Client, address, token string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("ask %s: %w", address, err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close() // it was read to its end, or err says why not
	return resp.StatusCode, err
}
