package sim

import "time"

// join lets the last so many nodes read the stored part.
func (w *world) join() {
	w.out.Joined = make([]time.Duration, w.Joiners)
	for j := range w.Joiners {
		i := w.Nodes - 1 - j
		s := w.nodes[i].at.reads
		began := w.now
		w.after(w.jitter(rejoinJitter), func() { w.read(i, s, w.Stored, func() { w.out.Joined[j] = w.now - began }) })
	}
}

const longestPause = time.Second

// read asks for one batch after the other.
func (w *world) read(i int, s *server, left int, done func()) {
	if left == 0 {
		done()
		return
	}
	n := min(left, readBatch)
	way := w.way(i)
	if s != w.nodes[i].at {
		way += w.nodes[i].at.distance
	}
	cost := w.Read * time.Duration(n)
	asked := w.now
	s.live.do(cost, func() {
		pause := time.Duration(0)
		if waited := w.now - asked; w.Polite > 0 && waited > w.Polite {
			pause = min(waited*(waited/w.Polite), longestPause)
		}
		w.after(2*w.travel(way)+pause+w.jitter(pause), func() {
			take := w.Take * time.Duration(n)
			w.out.NodeCPU += take
			d := &w.nodes[i]
			if d.proc != nil {
				d.proc.do(take, func() { w.read(i, s, left-n, done) })
				return
			}
			d.free = max(d.free, w.now) + take
			w.at(d.free, func() { w.read(i, s, left-n, done) })
		})
	})
}
