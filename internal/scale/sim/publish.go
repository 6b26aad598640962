package sim

import (
	"slices"
	"time"
)

// chunk is how many deliveries a server makes before another thread of it gets its
// turn.
const chunk = 8

// Run simulates.
func Run(f Fleet) (Outcome, error) {
	w, err := newWorld(f)
	if err != nil {
		return Outcome{}, err
	}
	w.out.Took = slices.Repeat([]time.Duration{-1}, f.Nodes*f.Statements)
	w.out.Last = make([]time.Duration, f.Statements)
	w.began = make([]time.Duration, f.Statements)
	for n := range f.Statements {
		w.at(time.Duration(n)*f.Every+w.jitter(f.Every/10), func() { w.publish(n) })
	}
	middle := time.Duration(f.Statements) * f.Every / 2
	if f.Drop {
		w.at(middle, w.drop)
	}
	if f.Joiners > 0 {
		w.at(middle, w.join)
	}
	w.run()
	w.out.Servers = len(w.servers)
	for _, s := range w.servers {
		w.out.ServerCPU += s.live.used + s.accept.used
		w.out.Busiest = max(w.out.Busiest, s.live.used+s.accept.used)
	}
	return w.out, nil
}

// publish stores a statement at home, and hands it on once it is safe.
func (w *world) publish(n int) {
	w.began[n] = w.now
	leader := w.home[0]
	leader.live.do(w.Publish, func() {
		w.after(w.Store, func() {
			w.stored = max(w.stored, n+1)
			w.handOn(leader, n)
		})
	})
}

// handOn delivers a statement to everybody who is connected to a server.
func (w *world) handOn(s *server, n int) {
	fan := w.Fan
	if s.handing > 0 {
		fan = w.FanMore
	}
	s.handing++
	chunks := (len(s.nodes) + chunk - 1) / chunk
	if chunks == 0 {
		s.handing--
	}
	for _, below := range s.below {
		s.live.do(fan, func() {
			w.after(w.travel(below.distance), func() { w.arrive(below, n) })
		})
	}
	for first := 0; first < len(s.nodes); first += chunk {
		some := s.nodes[first:min(first+chunk, len(s.nodes))]
		s.live.do(fan*time.Duration(len(some)), func() {
			if chunks--; chunks == 0 {
				s.handing--
			}
			for _, i := range some {
				if w.nodes[i].online {
					w.deliver(i, n, w.now+w.travel(w.way(i)))
				}
			}
		})
	}
}

// arrive is the statement at a server further down; a mirror stores it first.
func (w *world) arrive(s *server, n int) {
	if w.Shape != Mirror {
		w.handOn(s, n)
		return
	}
	s.live.do(w.Publish, func() { w.after(w.Store, func() { w.handOn(s, n) }) })
}

// deliver brings a statement to a node, which applies it in its turn.
func (w *world) deliver(i, n int, at time.Duration) {
	d := &w.nodes[i]
	at = max(at, d.arrived)
	d.arrived = at
	cost := w.Apply
	if d.waiting > 0 || d.free > at {
		cost = w.ApplyMore
	}
	w.out.NodeCPU += cost
	if d.proc == nil {
		d.free = max(d.free, at) + cost
		w.applied(i, n, d.free)
		return
	}
	d.waiting++
	w.at(at, func() {
		d.proc.do(cost, func() {
			d.waiting--
			w.applied(i, n, w.now)
		})
	})
}

// applied counts.
func (w *world) applied(i, n int, at time.Duration) {
	took := &w.out.Took[n*w.Nodes+i]
	if *took >= 0 {
		w.out.Twice++
		return
	}
	*took = at - w.began[n]
	w.out.Last[n] = max(w.out.Last[n], *took)
	w.out.Delivered++
}
