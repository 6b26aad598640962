package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// What a disk is slow at, as the servers' standard library is told, see slowDisk.
const (
	writing = 'w' // and syncing
	reading = 'r'
)

// slowed makes the disk of a server slow.
func slowed(at rune, by time.Duration) deed[*server] {
	before := map[*server]int64{}
	return deed[*server]{
		do: func(_ context.Context, w *world, s *server) error {
			if w.bin.slow == "" {
				return errors.New("there are no servers with a slow disk: the standard library could not be changed for them")
			}
			before[s] = s.waits()
			temporary := s.disk + ".new"
			return errors.Join(os.WriteFile(temporary, fmt.Appendf(nil, "%c%v", at, by), 0o600), os.Rename(temporary, s.disk))
		},
		undo: func(_ context.Context, _ *world, s *server) error { return os.Remove(s.disk) },
		felt: func(_ context.Context, _ *world, s *server) (string, error) {
			n := s.waits() - before[s]
			if n == 0 {
				return "", fmt.Errorf("%s has never waited for its disk", s.name)
			}
			return fmt.Sprintf("%s waited %d×", s.name, n), nil
		},
	}
}

// waits is how often a server has waited for its slow disk: it leaves a byte each time.
func (s *server) waits() int64 {
	info, err := os.Stat(s.disk + ".waits")
	if err != nil {
		return 0 // never yet
	}
	return info.Size()
}

// slow makes every write and every sync of some servers take so much longer, so that
// acknowledgements take long, too.
func slow(who which, by, ack time.Duration, rank float64) begin {
	return func(ctx context.Context, w *world) (grip, error) {
		began := time.Now()
		_, _, lost := w.ledger.count()
		g, err := onServers(who, slowed(writing, by))(ctx, w)
		if err != nil {
			return grip{}, err
		}
		waited := g.felt
		g.felt = func(ctx context.Context) (string, error) {
			text, err := waited(ctx)
			pace, late := w.ledger.atLeast(began, ack, rank)
			if _, _, now := w.ledger.count(); rank == slowest && now > lost { // so slow that nobody waited for the answer
				pace, late = fmt.Sprintf("%s, %d not acknowledged", pace, now-lost), nil
			}
			return text + ", " + pace, errors.Join(err, late)
		}
		return g, nil
	}
}

// slowToRead makes every reading slow, and has the leader read everything anew, and nodes have it read for them.
func slowToRead(by time.Duration) begin {
	restart := deed[*server]{
		do: func(_ context.Context, _ *world, s *server) error {
			return errors.Join(s.shoot(), s.start())
		},
		undo: func(context.Context, *world, *server) error { return nil },
		felt: func(context.Context, *world, *server) (string, error) { return "leader started anew", nil },
	}
	return func(ctx context.Context, w *world) (grip, error) {
		return together(together(onServers(every, slowed(reading, by)), onServers(leading, restart)), onNodes("deny-2 deny-3 allow-1", restartNode))(ctx, w)
	}
}
