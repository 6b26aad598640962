package sim

import "time"

// drop breaks all connections at once.
func (w *world) drop() {
	w.dropped = w.now
	w.out.Fresh = make([]time.Duration, w.Nodes)
	for i := range w.nodes {
		w.nodes[i].online = false
		w.reconnect(i, 0)
	}
}

// reconnect waits as the product does and then connects.
func (w *world) reconnect(i, attempt int) {
	most := reconnectMost
	if attempt < 4 {
		most = reconnectFirst << attempt
	}
	s, way := w.nodes[i].at, w.way(i)
	w.after(most/2+w.jitter(most/2), func() {
		answered, gone := false, false
		w.after(connectTimeout, func() {
			if !answered {
				gone = true
				w.out.TimedOut++
				w.reconnect(i, attempt+1)
			}
		})
		w.after(3*w.travel(way), func() { // TCP, then INFO, CONNECT and PING
			s.accept.add(work{cost: w.Connect, over: func() bool { return gone }, done: func() {
				if gone {
					return
				}
				answered = true
				w.nodes[i].online = true
				w.after(w.jitter(rejoinJitter), func() { w.catchUp(i, 0) })
			}})
		})
	})
}

// catchUp reads what was missed, from the server that holds the stream.
func (w *world) catchUp(i, attempt int) {
	s := w.nodes[i].at
	way := w.way(i)
	if s.reads != s {
		way += s.distance
	}
	w.after(2*w.travel(way), func() { // the question for the stream, then the consumer
		if s.reads.readers >= w.MaxReaders {
			w.out.Refused++
			wait := min(retryFirst<<min(attempt, 7), retryMost)
			w.after(way+wait+w.jitter(wait), func() { w.catchUp(i, attempt+1) })
			return
		}
		s.reads.readers++
		relay := time.Duration(0)
		if s.reads != s {
			relay = 2 * w.Fan
		}
		s.reads.accept.do(w.Catch+relay, func() {
			s.reads.readers--
			upTo := w.stored
			w.after(2*w.travel(way), func() { w.rejoined(i, upTo) })
		})
	})
}

// rejoined applies what was missed.
func (w *world) rejoined(i, upTo int) {
	d := &w.nodes[i]
	w.out.NodeCPU += w.Rejoin
	done := func() {
		for n := range upTo {
			if w.out.Took[n*w.Nodes+i] < 0 {
				w.applied(i, n, w.now)
			}
		}
		w.out.Fresh[i] = w.now - w.dropped
	}
	if d.proc != nil {
		d.proc.do(w.Rejoin, done)
		return
	}
	d.free = max(d.free, w.now) + w.Rejoin
	w.at(d.free, done)
}
