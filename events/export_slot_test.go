package events

// SetLong makes readings of more than so many statements need a slot.
func SetLong(s *Subscriber, statements uint64) { s.long = statements }
