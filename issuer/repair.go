package issuer

import (
	"context"
	"errors"
	"strings"
	"time"
)

// A pointer is written in the same atomic batch as an intent and deleted with it, so that intents are found without
// reading every session.
func pointerKey(key string) string { return "p." + key }

func pointerTo(key string) (write, error) {
	value, err := encodeRecord(kindPointer, pointerKey(key), struct{}{})
	return write{key: pointerKey(key), value: value, revision: anyRevision}, err
}

// repair publishes what a crash left between the two halves. Publishing twice is harmless: the statement keeps its ID.
func (i *Issuer) repair(ctx context.Context) error {
	pointers, err := i.store.keys(ctx, "p.>")
	if err != nil {
		return err
	}
	i.sightings.keep(pointers)
	var failed error
	for _, p := range pointers {
		if err := i.repairOne(ctx, p); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

func (i *Issuer) repairOne(ctx context.Context, pointer string) error {
	ctx, cancel := context.WithTimeout(ctx, i.cfg.Timeout)
	defer cancel()
	key := strings.TrimPrefix(pointer, "p.")
	rs, err := i.store.getAll(ctx, pointer, key)
	if err != nil || !rs[0].exists() {
		return err
	}
	if strings.HasPrefix(key, "u.") {
		return i.repairAccount(ctx, rs[0])
	}
	if rs[1].exists() && strings.HasPrefix(key, "s.") {
		s, err := decodeSession(rs[1])
		if err != nil {
			return err
		}
		if s.State == ending {
			i.log.Info("publishing an intent that was left behind", "kind", "session")
			_, err = i.publishSession(ctx, s)
			return err
		}
	}
	if rs[1].exists() && strings.HasPrefix(key, "m.") {
		m, err := decodeMark(rs[1])
		if err != nil {
			return err
		}
		if len(m.Pending) > 0 {
			i.log.Info("publishing an intent that was left behind", "kind", "mark")
			return i.publishMark(ctx, m)
		}
	}
	// A pointer only says where to look, and there is nothing: one that is not ours may go as well, but not unseen.
	if err := rs[0].decode(kindPointer); err != nil {
		i.log.Error("dropping a pointer that the issuer did not write", "error", err)
	}
	_, err = i.store.put(ctx, write{key: pointer, revision: rs[0].revision})
	if errors.Is(err, ErrConflict) {
		err = nil
	}
	return err
}

// every calls f at once and then at each interval and each wake, until ctx ends. A failure is logged when it is a new one.
func (i *Issuer) every(ctx context.Context, d time.Duration, what string, wake <-chan struct{}, f func(context.Context) error) {
	t := time.NewTicker(d)
	defer t.Stop()
	last := ""
	for {
		err := f(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			last = ""
		case err.Error() != last:
			last = err.Error()
			i.log.Warn(what+" failed, retrying", "error", err)
		}
		select {
		case <-t.C:
		case <-wake:
		case <-ctx.Done():
			return
		}
	}
}
