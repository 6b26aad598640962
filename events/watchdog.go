package events

import (
	"errors"
	"fmt"
	"time"
)

// deafAfter is the number of beacon intervals without any evidence after which
// a connected link counts as deaf.
const deafAfter = 4

// watchdog notices a link that is up and brings nothing: a server without
// quorum answers everything and stores nothing.
type watchdog struct {
	interval time.Duration
	sign     time.Time     // last evidence of life
	looked   time.Time     // when deaf was asked
	advanced time.Time     // when something was contiguous, or the stored part was read
	patience time.Duration // how long to wait for the next
	progress uint64        // of catch-ups, at sign
	conns    uint64        // reconnects seen
	forced   bool          // the next reconnect is one we asked for
}

func newWatchdog(interval time.Duration, now time.Time, conns uint64) watchdog {
	w := watchdog{interval: interval, sign: now, looked: now, conns: conns}
	w.calm()
	return w
}

// calm restores the first patience. It is random: a whole fleet sees the last
// beacon at the same instant and must not reconnect at the same instant.
func (w *watchdog) calm() { w.patience = deafAfter*w.interval + jitter(2*w.interval) }

// alive: something came through the stream; the link is not deaf.
func (w *watchdog) alive(now time.Time) { w.sign = now }

// proven: the view advanced.
func (w *watchdog) proven(now time.Time) {
	w.sign, w.advanced = now, now
	w.calm()
}

// stuck: messages come, and for as long as that none of them has been news.
func (w *watchdog) stuck(now time.Time) bool { return now.Sub(w.advanced) >= deafAfter*w.interval }

// deaf reports whether patience has run out, and then doubles it, up to a
// minute. It is asked several times in an interval. If it was not, this process stood still
// or was at one Apply: what came meanwhile waits to be heard, and the link is not to blame.
func (w *watchdog) deaf(now time.Time, progress uint64) bool {
	if still := now.Sub(w.looked); still > max(2*w.interval, time.Second) {
		w.sign = w.sign.Add(still)
	}
	w.looked = now
	if progress != w.progress || w.sign.After(now) {
		w.progress, w.sign = progress, now
	}
	if now.Sub(w.sign) < w.patience {
		return false
	}
	w.sign = now
	w.patience = min(2*w.patience, time.Minute) + jitter(2*w.interval)
	return true
}

// watch forces a reconnect, to another server if there is one, when the link
// is deaf.
func (f *follower) watch() {
	now := f.now()
	switch {
	case f.nc.IsClosed():
		f.failed("connection", errors.New("it was closed; the node stays stale until it is restarted"))
		return
	case !f.nc.IsConnected():
		f.watchdog.alive(now)
		f.failed("connection", disconnected(f.nc))
		return
	case !f.watchdog.deaf(now, f.progress.Load()):
		return
	}
	f.failed("beacons", fmt.Errorf("none came back for %d intervals: the server may have lost its quorum, the stream may be full, or nobody may publish to %s", deafAfter, SubjectBeacon))
	f.update(func(st *Status) { st.Forced++ })
	f.watchdog.forced = true
	if err := f.nc.ForceReconnect(); err != nil {
		f.failed("reconnect", err)
	}
}

// checkConnection reads the stored part again after every reconnect: whatever
// was published meanwhile went past this node. Until then nothing is confirmed:
// the stream behind the new connection may be another.
func (f *follower) checkConnection() {
	n := f.nc.Stats().Reconnects
	if n == f.watchdog.conns {
		return
	}
	f.update(func(st *Status) { st.Reconnects += n - f.watchdog.conns })
	f.watchdog.conns = n
	f.suspend(n)
	f.track.open()
	f.foreign = f.received()
	f.stop()
	if !f.watchdog.forced {
		f.backoff = retryFirst
	}
	f.watchdog.forced = false
	f.start(jitter(50 * time.Millisecond))
}

// start schedules a catch-up, unless one is running. It may bring a planned one
// forward, never put it off.
func (f *follower) start(after time.Duration) {
	due := f.now().Add(after)
	if f.reading != nil || !f.planned.IsZero() && !due.Before(f.planned) {
		return
	}
	f.planned = due
	f.retry.Reset(after)
}

// later schedules a catch-up after a failure, unless one is planned.
func (f *follower) later() {
	if !f.planned.IsZero() || f.reading != nil {
		return
	}
	f.start(f.backoff + jitter(f.backoff))
	f.backoff = min(f.backoff*2, retryMax)
}

// stop abandons a running catch-up; its result is ignored.
func (f *follower) stop() {
	if f.reading != nil {
		f.reading.cancel()
		f.reading = nil
	}
}
