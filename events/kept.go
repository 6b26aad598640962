package events

import (
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// kept is for how long a server keeps a message with this header. Zero if it does not say, or not the same to everybody:
// of two values the server takes the first.
func kept(h nats.Header) time.Duration {
	v := h[headerTTL]
	if len(v) != 1 {
		return 0
	}
	if s, err := strconv.ParseInt(v[0], 10, 32); err == nil && s > 0 {
		return time.Duration(s) * time.Second
	}
	if d, err := time.ParseDuration(v[0]); err == nil && d > 0 {
		return d.Truncate(time.Second)
	}
	return 0
}
