package events

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A stream that has no room for a statement may still have some for beacons, which are small. Who may send those, and fills
// the stream to just there, would keep every view new while nothing can be revoked. So a view gets no newer while the
// stream could not take a statement of any size, as if it took no beacons.

// How many beacon intervals are between two looks, at random half as many to one and a half times.
const (
	roomEvery = 10
	roomAgain = 2 // while there is none
)

var errNoRoom = errors.New("the stream is full, so that nothing can be revoked: raise its max_bytes, and look who fills it")

// hasRoom reports whether a stream takes any statement. Of a small one a part is enough.
func hasRoom(i *jetstream.StreamInfo) bool {
	if i.Config.MaxBytes <= 0 {
		return true
	}
	most := uint64(i.Config.MaxBytes)
	return i.State.Bytes+min(2*MaxEvent, most/16) <= most
}

// saw takes note of what the server says of the stream.
func (s *Subscriber) saw(i *jetstream.StreamInfo) {
	full := !hasRoom(i)
	if s.full.Swap(full) == full {
		return
	}
	if full {
		s.log.Error("the stream of revocations has no room: the view gets no newer until it has", "bytes", i.State.Bytes, "max_bytes", i.Config.MaxBytes)
	} else {
		s.log.Info("the stream of revocations has room again")
	}
}

// watchRoom looks at the room until ctx ends. What cannot be found out changes nothing.
func (f *follower) watchRoom(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		every := roomEvery * f.interval
		if f.full.Load() {
			every = roomAgain * f.interval
		}
		timer.Reset(every/2 + jitter(every))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if !f.nc.IsConnected() {
			continue
		}
		ictx, cancel := context.WithTimeout(ctx, infoTimeout)
		stream, err := f.js.Stream(ictx, StreamName)
		cancel()
		if err == nil {
			f.saw(stream.CachedInfo())
		}
	}
}
