package verifier

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quash-auth/quash/cache"
)

// watchers finds the watches that a statement may end in time proportional to their number, whatever the number of others.
type watchers struct {
	v        *Verifier
	mu       sync.Mutex // guards by and the places in it; nothing is called while it is held
	by       map[watchKey][]*place
	number   atomic.Int64
	tightest atomic.Int64 // the smallest bound of a watch with policy Deny, ever; 0: none
}

// watchKey is what a statement names.
type watchKey struct {
	scope       cache.Scope
	issuer, key string
}

// place is one entry of the index: a watcher under one of its keys.
type place struct {
	key watchKey
	w   *watcher
	at  int // in by[key]
}

func (ws *watchers) init(v *Verifier) { ws.v, ws.by = v, make(map[watchKey][]*place) }

func (ws *watchers) add(w *watcher, t *Token) {
	keys := [...]string{cache.Token: t.ID, cache.Session: t.Session, cache.Subject: t.Subject, cache.Client: t.Client, cache.Key: t.KeyID, cache.Issuer: ""}
	if w.rule.OnStale == Deny {
		for bound := int64(w.rule.MaxStaleness); ; {
			old := ws.tightest.Load()
			if old != 0 && old <= bound || ws.tightest.CompareAndSwap(old, bound) {
				break
			}
		}
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for scope := cache.Token; scope <= cache.Issuer; scope++ {
		if keys[scope] == "" && scope != cache.Issuer {
			continue
		}
		p := &w.places[scope-cache.Token]
		p.key, p.w = watchKey{scope, t.Issuer, keys[scope]}, w
		p.at = len(ws.by[p.key])
		ws.by[p.key] = append(ws.by[p.key], p)
	}
	ws.number.Add(1)
}

func (ws *watchers) remove(w *watcher) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for i := range w.places {
		p := &w.places[i]
		if p.w == nil {
			continue
		}
		list := ws.by[p.key]
		last := len(list) - 1
		list[p.at], list[last].at = list[last], p.at
		list[last] = nil
		if last == 0 {
			delete(ws.by, p.key)
		} else {
			ws.by[p.key] = list[:last]
		}
		p.w = nil
	}
	ws.number.Add(-1)
}

// applied ends the watches that the statements cover. The denylist has them already and gives the verdict.
func (ws *watchers) applied(batch []cache.Statement) {
	if ws.number.Load() == 0 {
		return // a Watch that is being added looks into the denylist itself
	}
	var hit []*watcher
	ws.mu.Lock()
	for i := range batch {
		s := &batch[i]
		for _, p := range ws.by[watchKey{s.Scope, s.Issuer, s.Key}] {
			hit = append(hit, p.w)
		}
	}
	ws.mu.Unlock()
	now := ws.v.now()
	for _, w := range hit {
		if err := w.recheck(now); errors.Is(err, ErrRevoked) {
			w.end(ws.count(err))
		}
	}
}

// recheck asks every watch again, which is only needed when the view is old or the clock was moved.
func (ws *watchers) recheck(now time.Time) {
	for _, w := range ws.all() {
		if err := w.recheck(now); err != nil {
			w.end(ws.count(err))
		}
	}
}

func (ws *watchers) closeAll(cause error) {
	for _, w := range ws.all() {
		w.end(ws.count(cause))
	}
}

func (ws *watchers) all() []*watcher {
	var list []*watcher
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for k, places := range ws.by {
		if k.scope != cache.Issuer {
			continue
		}
		for _, p := range places {
			list = append(list, p.w)
		}
	}
	return list
}

// count counts why a watch ends.
func (ws *watchers) count(err error) error {
	c := &ws.v.counters
	switch {
	case errors.Is(err, ErrRevoked):
		c.watchesRevoked.Add(1)
	case errors.Is(err, ErrExpired):
		c.watchesExpired.Add(1)
	case errors.Is(err, ErrStale):
		c.watchesStale.Add(1)
	}
	return err
}
