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
			gate, delay := k.gate, k.delay
			k.mu.Unlock()
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
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// sever breaks all connections and accepts no more until mend.
func (k *link) sever() {
	k.mu.Lock()
	k.cut = true
	k.mu.Unlock()
	k.drop()
}

// swallow keeps connections and lets nothing through until mend.
func (k *link) swallow() {
	k.mu.Lock()
	defer k.mu.Unlock()
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
	k.delay = d
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

// drop breaks all connections once.
func (k *link) drop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for p := range k.flows {
		p.close()
	}
}

func (k *link) close() {
	_ = k.listener.Close()
	k.mu.Lock()
	k.ended = true
	k.mu.Unlock()
	k.drop()
	k.done.Wait()
}
