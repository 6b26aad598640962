package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// trap waits for a certain piece that an issuer sends to the bus, and holds it and all that follow.
type trap struct {
	mu      sync.Mutex // guards what follows
	left    int        // pieces to let pass
	seen    int
	reached chan struct{} // closed: the piece has come
	decided chan struct{} // closed: it may pass, or not
	pass    bool
}

func newTrap(after int) *trap {
	return &trap{left: after, reached: make(chan struct{}), decided: make(chan struct{})}
}

// step says whether a piece is part of what a person waits for: not what an issuer sends of its own accord.
func step(piece []byte) bool {
	for line := range bytes.Lines(piece) {
		if bytes.HasPrefix(line, []byte("PUB ")) || bytes.HasPrefix(line, []byte("HPUB ")) {
			own := func(subject string) bool { return bytes.Contains(line, []byte(subject)) }
			if !own(".beacon") && !own("quash.fleet") && !own("$JS.API.STREAM.INFO.") { // it looks for room every now and then
				return true
			}
		}
	}
	return false
}

func (t *trap) tap(piece []byte) bool {
	if !step(piece) {
		return true
	}
	t.mu.Lock()
	t.seen++
	t.left--
	last := t.left == 0
	held := t.left <= 0
	t.mu.Unlock()
	if !held {
		return true
	}
	if last {
		close(t.reached)
	}
	<-t.decided
	return last && t.pass
}

func (t *trap) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen
}

// issuerAtEveryStep has a person log out at one replica, which is killed just before the bus gets one of the messages of
// that, or just after it, for each message. Whatever was done by then: the other replica ends it, or says that it has ended, and
// soon no node accepts the token.
func issuerAtEveryStep(ctx context.Context, w *world) (grip, error) {
	w.visits.Lock() // nobody else's messages are counted
	defer w.visits.Unlock()
	ctx, cancel := w.patient(ctx)
	defer cancel()
	steps, err := w.steps(ctx)
	if err != nil {
		return grip{}, err
	}
	ended := 0
	for n := 1; n <= steps; n++ {
		for _, pass := range []bool{false, true} {
			done, err := w.killAt(ctx, n, pass)
			if err != nil {
				return grip{}, fmt.Errorf("killed at message %d of %d, passed %v: %w", n, steps, pass, err)
			}
			if done {
				ended++
			}
		}
	}
	return over("killed before and after each of the %d messages of a logout; in %d of %d the other replica found it done", steps, ended, 2*steps), nil
}

// steps counts the messages of a logout: the fewest of several, for the issuer may send something of its own accord meanwhile.
func (w *world) steps(ctx context.Context) (fewest int, err error) {
	for range 5 {
		t, err := w.login(ctx, w.issuers[0])
		if err != nil {
			return 0, err
		}
		pause(ctx, 300*time.Millisecond) // as killAt does: what follows a login is over
		count := newTrap(1 << 30)
		w.issuers[0].listen(count.tap)
		t.asked.Store(time.Now().UnixNano())
		status := w.issuers[0].logout(ctx, t)
		w.issuers[0].listen(nil)
		seen := count.count()
		if status != http.StatusOK || seen == 0 {
			return 0, fmt.Errorf("a logout: status %d, %d messages", status, seen)
		}
		w.ledger.ack(t)
		if fewest == 0 || seen < fewest {
			fewest = seen
		}
	}
	return fewest, nil
}

// killAt kills a replica at one message of a logout. It returns whether that had been enough.
func (w *world) killAt(ctx context.Context, n int, pass bool) (done bool, err error) {
	r, other := w.issuers[n%2], w.issuers[(n+1)%2]
	t, err := w.login(ctx, other)
	if err != nil {
		return false, err
	}
	pause(ctx, 300*time.Millisecond) // as people do, and replicas of records follow
	at := newTrap(n)
	at.pass = pass
	r.listen(at.tap)
	t.asked.Store(time.Now().UnixNano())
	first := make(chan int, 1)
	w.tasks.Go(func() { first <- r.logout(ctx, t) })
	select {
	case <-at.reached:
	case status := <-first:
		r.listen(nil)
		return false, fmt.Errorf("it was answered with %d before", status)
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if pass {
		close(at.decided) // it is on its way, and nothing that follows
		pause(ctx, 5*time.Millisecond)
	}
	err = r.shoot()
	if !pass {
		close(at.decided)
	}
	r.listen(nil)
	switch status := <-first; {
	case status == http.StatusOK && pass: // the answer to the last message was quicker than the end: then it holds
		w.ledger.ack(t)
	case status != 0:
		err = errors.Join(err, fmt.Errorf("it was answered with %d", status))
	}
	if err = errors.Join(err, r.start()); err != nil {
		return false, err
	}
	err = poll(ctx, 50*time.Millisecond, func() error {
		switch status := other.logout(ctx, t); status {
		case http.StatusOK:
			w.ledger.ack(t)
		case http.StatusUnauthorized:
			done = true
		default:
			return fmt.Errorf("the other replica answers %d", status)
		}
		return nil
	})
	if err == nil {
		err = poll(ctx, 50*time.Millisecond, func() error { return r.ready(ctx) })
	}
	if err != nil || !done {
		return done, err
	}
	for _, n := range w.nodes { // nobody was told that it is done, and all the same it must be
		if err := poll(ctx, 50*time.Millisecond, func() error {
			if a, ok := n.show(ctx, t); !ok || a.status != http.StatusUnauthorized {
				return fmt.Errorf("%s answers %d", n.Name, a.status)
			}
			return nil
		}); err != nil {
			w.judge.report(i1, n.Name, "accepts a token whose session has ended with an issuer that was killed: %v", err)
			return done, nil
		}
	}
	w.ledger.ack(t)
	return done, nil
}

// listen has somebody see what a replica sends to the bus.
func (r *replica) listen(tap func([]byte) bool) {
	for _, k := range r.links {
		k.listen(tap)
	}
}
