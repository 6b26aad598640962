package sim

import "time"

// host is a machine with some cores. Its processes take turns, one piece of work
// each; pieces are small and are not interrupted.
type host struct {
	e     *engine
	cores int
	busy  int
	ring  []*process // those that have work waiting
	used  time.Duration
}

// process is a program, or a thread of one.
type process struct {
	host  *host
	queue []work
	used  time.Duration
}

type work struct {
	cost time.Duration
	done func()
	over func() bool // nobody waits for it any more when its turn comes; nil: somebody does
}

func (e *engine) host(cores int) *host { return &host{e: e, cores: cores} }

func (h *host) process() *process { return &process{host: h} }

// do puts work into the queue of a process.
func (p *process) do(cost time.Duration, done func()) { p.add(work{cost: cost, done: done}) }

func (p *process) add(w work) {
	if p.host.busy < p.host.cores {
		p.begin(w)
		return
	}
	if len(p.queue) == 0 {
		p.host.ring = append(p.host.ring, p)
	}
	p.queue = append(p.queue, w)
}

func (p *process) begin(w work) {
	h := p.host
	if w.over != nil && w.over() {
		w.cost, w.done = 0, func() {}
	}
	h.busy++
	h.used += w.cost
	p.used += w.cost
	h.e.after(w.cost, func() {
		h.busy--
		w.done()
		for h.busy < h.cores && len(h.ring) > 0 {
			h.next()
		}
	})
}

// next begins the oldest work of the process whose turn it is.
func (h *host) next() {
	p := h.ring[0]
	h.ring = h.ring[1:]
	w := p.queue[0]
	p.queue[0] = work{}
	if p.queue = p.queue[1:]; len(p.queue) > 0 {
		h.ring = append(h.ring, p)
	}
	p.begin(w)
}
