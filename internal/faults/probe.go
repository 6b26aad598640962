package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// sort is which tokens a probe shows.
type sort uint8

const (
	showGood    sort = iota // never revoked
	showNew                 // never revoked and never seen before
	showRevoked             // any that was ever acknowledged
	showLatest              // acknowledged just now
	showBad                 // expired and forged
	showYoung               // of a quash issuer, from a login a moment ago
	sorts
)

// probeEvery is the pace of one probe; a node has one for each sort.
const probeEvery = 120 * time.Millisecond

// answer is one verdict of a node, and what was known about the token then.
type answer struct {
	node          *node
	token         *token
	asked, acked  time.Time // acked: before it was sent; asked: until the answer had come
	status        int
	before, after view
	skewed        bool
}

// startProbes calls a node all the time.
func (w *world) startProbes(ctx context.Context, n *node) {
	for s := range sorts {
		w.tasks.Go(func() {
			tick := time.NewTicker(probeEvery)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				t := w.ledger.pick(s)
				if s == showNew {
					t = w.minter.mint(living, scopes[0])
				}
				if t == nil {
					continue
				}
				if a, ok := n.show(ctx, t); ok {
					w.judge.take(a)
				} else {
					w.judge.silence()
				}
			}
		})
	}
}

// show presents a token; false if no answer came.
func (n *node) show(ctx context.Context, t *token) (a answer, ok bool) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.Listen+"/secure", nil)
	if err != nil {
		return a, false
	}
	req.Header.Set("Authorization", "Bearer "+t.raw)
	a = answer{node: n, token: t, skewed: n.skewed.Load()}
	if at := t.acked.Load(); at != 0 {
		a.acked = time.Unix(0, at)
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return a, false
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return a, false
	}
	a.status = resp.StatusCode
	a.skewed = a.skewed || n.skewed.Load()
	if at := t.asked.Load(); at != 0 {
		a.asked = time.Unix(0, at)
	}
	if json.Unmarshal([]byte(resp.Header.Get(headerBefore)), &a.before) != nil || json.Unmarshal([]byte(resp.Header.Get(headerAfter)), &a.after) != nil {
		return a, false
	}
	return a, true
}
