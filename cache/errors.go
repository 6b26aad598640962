package cache

import "errors"

var (
	// ErrInvalid means that statements of the batch make no sense. The valid ones of
	// the batch were applied; applying the invalid ones again is of no use.
	ErrInvalid = errors.New("cache: invalid statement")

	// ErrFull means that MaxEntries keys are held, so statements about new keys were
	// refused. Nothing that lives was dropped. The node must not count as complete;
	// apply the batch again once entries have expired or start it with more room.
	ErrFull = errors.New("cache: denylist is full")

	// ErrClosed means that the denylist is closed (or nil): Check denies every token.
	ErrClosed = errors.New("cache: denylist is closed")

	// ErrConfig means that a Config cannot work; the message names the field.
	ErrConfig = errors.New("cache: bad configuration")
)
