package events

import "time"

// SetLong makes readings of more than so many statements need a slot, which is free again
// when nothing was heard of its holder for inactive. Zero: as usual.
func SetLong(s *Subscriber, statements uint64, inactive time.Duration) {
	s.long = statements
	if inactive > 0 {
		s.slotInactive = inactive
	}
}
