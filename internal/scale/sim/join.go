package sim

import "time"

// join lets the last so many nodes read the stored part.
func (w *world) join() {
	w.out.Joined = make([]time.Duration, w.Joiners)
	for j := range w.Joiners {
		i := w.Nodes - 1 - j
		s := w.nodes[i].at.reads
		began := w.now
		t := &turn{world: w, node: i, from: s, until: began + w.SlotWait + w.jitter(w.SlotWait), wait: slotFirst}
		done := func() { w.out.Joined[j] = w.now - began }
		w.after(w.jitter(rejoinJitter), func() { t.ask(w.Slots, done) })
	}
}

// turn is the wait of one joiner for a slot.
type turn struct {
	*world
	node   int
	from   *server
	until  time.Duration
	wait   time.Duration // before it asks again
	waited bool
}

// ask tries some slots, and reads when one is free.
func (t *turn) ask(tries int, done func()) {
	if t.Slots == 0 {
		t.read(t.node, t.from, t.Stored, done)
		return
	}
	way := t.way(t.node)
	cost := t.Catch / 4 * time.Duration(tries) // a short catch-up is four questions, this is one for each
	t.after(t.travel(way), func() {
		t.from.accept.do(cost, func() {
			free := t.Slots - t.from.slots
			found := false
			for k := range min(tries, t.Slots) {
				found = found || t.rng.IntN(t.Slots-k) < free
			}
			if found {
				t.from.slots++
			}
			t.after(t.travel(way), func() { t.answered(found, done) })
		})
	})
}

func (t *turn) answered(found bool, done func()) {
	switch {
	case found:
		t.read(t.node, t.from, t.Stored, func() {
			done()
			t.after(t.travel(t.way(t.node)), func() { t.from.slots-- })
		})
	case t.now >= t.until:
		t.out.Slotless++
		t.read(t.node, t.from, t.Stored, done)
	default:
		if !t.waited {
			t.waited = true
			t.out.Waited++
		}
		wait := t.wait
		t.wait = min(2*wait, slotMost)
		t.after(min(wait/2+t.jitter(wait/2), t.until-t.now), func() { t.ask(slotTries, done) })
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
