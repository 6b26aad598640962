package main

import (
	"net"
	"sync"
	"time"

	"github.com/quash-auth/quash/internal/ports"
)

// link is one direction of dialling: what a process takes for the address of a
// NATS server. Faults of the network happen here, without privileges: it may be
// cut (nobody answers, connections break), a hole (connections stay and nothing
// passes), slow, or drop what it has once.
type link struct {
	listener net.Listener
	target   string
	done     sync.WaitGroup

	mu    sync.Mutex // guards what follows
	cut   bool
	gate  chan struct{} // closed: bytes pass
	delay time.Duration
	flows map[*flow]struct{}
	ended bool
	seen  traffic
	tap   func(piece []byte) (pass bool) // sees what comes from whoever dialled; nil: nobody listens
}

// traffic is what has happened on a link since its last fault began.
type traffic struct {
	passed  int // bytes that went through
	held    int // that were kept back, or made to wait
	broken  int // connections
	refused int // attempts to connect
}

// flow is one connection through a link.
type flow struct {
	near, far net.Conn
	once      sync.Once
	broken    chan struct{}
}

func (p *flow) close() {
	p.once.Do(func() {
		close(p.broken)
		_ = p.near.Close() // either side may be gone
		_ = p.far.Close()
	})
}

func (p *flow) over() bool {
	select {
	case <-p.broken:
		return true
	default:
		return false
	}
}

func newLink(target string) (*link, error) {
	address, err := ports.Address()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	k := &link{listener: l, target: target, gate: make(chan struct{}), flows: map[*flow]struct{}{}}
	close(k.gate)
	k.done.Go(k.accept)
	return k, nil
}

func (k *link) address() string { return k.listener.Addr().String() }

func (k *link) accept() {
	for {
		near, err := k.listener.Accept()
		if err != nil {
			return // closed
		}
		k.done.Go(func() { k.serve(near) })
	}
}

func (k *link) serve(near net.Conn) {
	k.mu.Lock()
	cut := k.cut || k.ended
	if cut {
		k.seen.refused++
	}
	k.mu.Unlock()
	if cut {
		_ = near.Close()
		return
	}
	far, err := net.DialTimeout("tcp", k.target, time.Second)
	if err != nil {
		_ = near.Close()
		return
	}
	p := &flow{near: near, far: far, broken: make(chan struct{})}
	defer p.close()
	k.mu.Lock()
	if k.cut || k.ended {
		k.seen.refused++
		k.mu.Unlock()
		return
	}
	k.flows[p] = struct{}{}
	k.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { k.copy(p, p.far, p.near) })
	k.copy(p, p.near, p.far)
	both.Wait()
	k.mu.Lock()
	delete(k.flows, p)
	k.mu.Unlock()
}

// copy carries bytes until either end closes.
func (k *link) copy(p *flow, to, from net.Conn) {
	defer p.close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			k.mu.Lock()
			gate, delay, tap := k.gate, k.delay, k.tap
			gone := p.over()
			if !gone {
				k.count(n)
			}
			k.mu.Unlock()
			if gone {
				return
			}
			select {
			case <-gate:
			case <-p.broken:
				return
			}
			if delay > 0 {
				select {
				case <-time.After(delay):
				case <-p.broken:
					return
				}
			}
			if tap != nil && from == p.near && !tap(buf[:n]) {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// count notes a piece that has come. The lock is held.
func (k *link) count(n int) {
	open := k.delay == 0
	select {
	case <-k.gate:
	default:
		open = false
	}
	if open {
		k.seen.passed += n
	} else {
		k.seen.held += n
	}
}

// sever breaks all connections and accepts no more until mend.
func (k *link) sever() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cut, k.seen = true, traffic{}
	k.breakAll()
}

// swallow keeps connections and lets nothing through until mend.
func (k *link) swallow() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen = traffic{}
	select {
	case <-k.gate:
		k.gate = make(chan struct{})
	default:
	}
}

// slow makes every piece wait.
func (k *link) slow(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.delay, k.seen = d, traffic{}
}

// mend undoes sever, swallow and slow.
func (k *link) mend() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cut, k.delay = false, 0
	select {
	case <-k.gate:
	default:
		close(k.gate)
	}
}

// listen has somebody see every piece that comes from whoever dialled, and keep it back. Nil: nobody any more.
func (k *link) listen(tap func([]byte) bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tap = tap
}

// drop breaks all connections once.
func (k *link) drop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.breakAll()
}

// breakAll does that. The lock is held.
func (k *link) breakAll() {
	for p := range k.flows {
		k.seen.broken++
		p.close()
	}
}

// seenOn is what was seen on some links together.
func seenOn(links []*link) (all traffic) {
	for _, k := range links {
		if k == nil {
			continue
		}
		k.mu.Lock()
		all.passed, all.held = all.passed+k.seen.passed, all.held+k.seen.held
		all.broken, all.refused = all.broken+k.seen.broken, all.refused+k.seen.refused
		k.mu.Unlock()
	}
	return all
}

func (k *link) close() {
	_ = k.listener.Close()
	k.mu.Lock()
	k.ended = true
	k.breakAll()
	k.mu.Unlock()
	k.done.Wait()
}
