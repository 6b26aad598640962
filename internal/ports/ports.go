// Package ports hands out TCP ports of 127.0.0.1 to tests, measurements and the demo,
// whose servers must come back at the same address. A port that was only seen to be free
// is taken by somebody else now and then, and a test fails that found nothing.
package ports

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The ports lie below those that systems take for outgoing connections. They come
// in blocks; a program owns a block while it listens on the block's first port, so
// that the system takes it back however the program ends.
const (
	low    = 10000
	blocks = 400
	size   = 50
	most   = 20 // blocks of one program; then the ports used longest ago come again
)

// owner is what one program holds.
type owner struct {
	mu    sync.Mutex
	locks []net.Listener // never closed: the blocks are ours until the program ends
	ports []int          // in the order in which they were handed out, the oldest first
	next  int            // of ports, the one that was handed out longest ago or never
	most  int
}

var program = owner{most: most}

// Take returns n different ports on which nobody listens. No other program that
// asks this package gets them, and this one gets them again only after hundreds of
// others. They are safe for concurrent use and need not be given back.
func Take(n int) ([]int, error) { return program.take(n) }

// Address is an address of 127.0.0.1 with a port from Take.
func Address() (string, error) {
	got, err := Take(1)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(got[0])), nil
}

func (o *owner) take(n int) ([]int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var got []int
	for tried := 0; len(got) < n; tried++ {
		if o.next == len(o.ports) && !o.grow() {
			o.next = 0
		}
		if tried >= len(o.ports) {
			return nil, fmt.Errorf("found only %d of %d free ports between %d and %d on 127.0.0.1: end what listens there and try again", len(got), n, low, low+blocks*size-1)
		}
		p := o.ports[o.next]
		o.next++
		if free(p) {
			got = append(got, p)
		}
	}
	return got, nil
}

// grow takes one more block, if there is one and o may.
func (o *owner) grow() bool {
	if len(o.locks) >= o.most {
		return false
	}
	first := rand.IntN(blocks)
	for i := range blocks {
		start := low + (first+i)%blocks*size
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(start)))
		if err != nil {
			continue // another program's
		}
		o.locks = append(o.locks, l)
		for p := start + 1; p < start+size; p++ {
			o.ports = append(o.ports, p)
		}
		return true
	}
	return false
}

func free(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
