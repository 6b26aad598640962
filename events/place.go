package events

import "time"

// Place is how far a Subscriber has completely read its stream. Another Subscriber can
// go on from there, in another process, if what had been applied is in force again: see
// Subscriber.Resume. The zero value is the start of any stream.
type Place struct {
	Stream time.Time // when the stream was created, by the server's clock
	Last   Landmark  // the newest message; everything before it has been applied
	Kept   Landmark  // one before that, or the same, which the stream keeps longer; may be zero
}

// Landmark is a message of the stream, to recognise the stream by: one that holds the
// same sequence with the same timestamp has the same past.
type Landmark struct {
	Sequence uint64
	Time     time.Time // when the server stored it
	Until    time.Time // how long the stream keeps it; zero if that is not known
}

// Resume makes Run go on from a place: it reads what was stored after it, and not the
// whole stream. Everything that the Subscriber whose Place it is had applied must be in
// force. It counts for the next Run only, and must be called before it; a place without
// stream or message is ignored.
//
// The place is believed only as far as the stream proves it. If the stream was created
// at another time, ends before the place or holds other messages there, that is a rewind
// (Status.Rewinds), and it is read from the start; so it is if both landmarks have gone.
// With a place that is not of such a Subscriber, revocations may be missed unnoticed.
func (s *Subscriber) Resume(p Place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.from = p
}

// Place returns how far everything has been applied. It is zero before the first sync
// and after a rewind until the stream has been read again.
func (s *Subscriber) Place() Place {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.place
}

// resume takes the place to go on from, which counts for one Run.
func (f *follower) resume() {
	f.mu.Lock()
	p := f.from
	f.from, f.place = Place{}, Place{}
	f.mu.Unlock()
	if p.Stream.IsZero() || p.Last.Sequence == 0 || p.Last.Time.IsZero() {
		return
	}
	f.origin, f.stream = false, p.Stream
	f.track.last, f.track.lastTime = p.Last.Sequence, p.Last.Time
	if k := p.Kept; k.Sequence > 0 && k.Sequence <= p.Last.Sequence {
		f.anchor = anchor{seq: k.Sequence, at: k.Time, until: k.Until}
	}
	f.log.Info("going on in the revocation stream", "sequence", p.Last.Sequence, "created", p.Stream)
}

// here is the follower's place; its view must be complete.
func (f *follower) here() Place {
	return Place{
		Stream: f.stream,
		Last:   Landmark{Sequence: f.track.last, Time: f.track.lastTime},
		Kept:   Landmark{Sequence: f.anchor.seq, Time: f.anchor.at, Until: f.anchor.until},
	}
}
