package events

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// place is where a delivered message stands.
type place struct {
	consumer string
	seq      uint64 // in the stream
	delivery uint64 // of this consumer, from 1
	at       time.Time
	pending  uint64 // still to come
}

// position reads it out of a delivery's reply subject:
// $JS.ACK[.domain.account].stream.consumer.delivered.stream_seq.consumer_seq.time.pending[.token]
func position(reply string) (place, error) {
	const short, long = 9, 11
	n := strings.Count(reply, ".") + 1
	skip := 3 // up to the consumer's name
	if n >= long {
		skip = 5
	} else if n != short {
		return place{}, fmt.Errorf("read stream %s: a message came without its position (%q)", StreamName, reply)
	}
	rest := reply
	for range skip {
		_, rest, _ = strings.Cut(rest, ".")
	}
	consumer, rest, _ := strings.Cut(rest, ".")
	_, rest, _ = strings.Cut(rest, ".") // how often it was delivered
	var nums [4]uint64
	var err error
	for i := range nums {
		var tok string
		tok, rest, _ = strings.Cut(rest, ".")
		if nums[i], err = strconv.ParseUint(tok, 10, 63); err != nil {
			return place{}, fmt.Errorf("read stream %s: position %q: %w", StreamName, reply, err)
		}
	}
	return place{consumer: consumer, seq: nums[0], delivery: nums[1], at: time.Unix(0, int64(nums[2])).UTC(), pending: nums[3]}, nil
}
