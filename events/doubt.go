package events

import "time"

// doubt is whether what is read may make the view newer. A stream behind a new
// connection, or one that was made anew, may have lost statements that this node has
// never seen and that somebody is about to give back. The Subscriber's lock guards it.
type doubt struct {
	careful bool
	number  uint64 // of doubts so far
	trusted uint64 // the last one that was settled
	later   *proof // the newest since, if it is not
	news    chan struct{}
}

func (d *doubt) arise() {
	d.number++
	d.later = nil
	select {
	case d.news <- struct{}{}:
	default:
	}
}

// believe takes evidence of completeness, unless there is better, and returns what
// there was before.
func (s *Subscriber) believe(p *proof, now time.Time) (old *proof) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := &s.doubt
	wait := d.careful && d.trusted != d.number
	if old = s.proof.Load(); wait && d.later != nil {
		old = d.later
	}
	if s.full.Load() {
		return old
	}
	if old != nil && p.freshness(now).Staleness > old.freshness(now).Staleness {
		return old
	}
	if wait {
		d.later = p
	} else {
		s.proof.Store(p)
	}
	return old
}

// Doubts counts how often the stream may have become another one: at the start, behind
// a new connection, after a rewind. news is signalled when the number has changed. With
// SubscriberConfig.Careful the view gets no newer until the number is given to Trust;
// everything is applied meanwhile.
func (s *Subscriber) Doubts() (number uint64, news <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.doubt.number, s.doubt.news
}

// Trust says that the stream holds all it should, as of the given number of Doubts. It
// does nothing, and is false, if there is another doubt since.
func (s *Subscriber) Trust(number uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := &s.doubt
	if number != d.number {
		return false
	}
	d.trusted = number
	if d.later != nil {
		s.proof.Store(d.later)
		d.later = nil
	}
	return true
}
