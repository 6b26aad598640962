package issuer

import (
	"context"
	"encoding/base64"
	"errors"

	"github.com/quash-auth/quash/events"
)

// census reads sessions and tells which of them live: their record says so, they have not expired, and nothing wider has
// ended them. Each mark is read once, so it is for one request only.
type census struct {
	i       *Issuer
	marks   map[string]mark
	damaged int // index records or sessions that could not be read, and are left out
}

func (i *Issuer) newCensus() *census { return &census{i: i, marks: map[string]mark{}} }

const censusRun = 64 // records read at once

// living returns those of the sessions that live, in their order.
func (c *census) living(ctx context.Context, xs []position) ([]*session, error) {
	var out []*session
	for len(xs) > 0 {
		run := xs[:min(len(xs), censusRun)]
		xs = xs[len(run):]
		keys := make([]string, len(run))
		for n, x := range run {
			keys[n] = sessionKey(x.sid)
		}
		records, err := c.i.store.getAll(ctx, keys...)
		if err != nil {
			return nil, err
		}
		var candidates []*session
		now := c.i.cfg.Now()
		for n, r := range records {
			if !r.exists() {
				continue
			}
			s, err := decodeSession(r)
			switch {
			case err != nil:
				c.damage(err)
			case s.index() != run[n].index:
				c.damage(badRecord(run[n].key(), errors.New("names a session of somebody else")))
			case s.State == live && !s.expired(now):
				candidates = append(candidates, s)
			}
		}
		if err := c.read(ctx, candidates); err != nil {
			return nil, err
		}
		for _, s := range candidates {
			alive, err := c.alive(s)
			if err != nil {
				return nil, err
			}
			if alive {
				out = append(out, s)
			}
		}
	}
	return out, nil
}

func (c *census) damage(err error) {
	c.damaged++
	c.i.log.Error("left out of a list of sessions", "error", err)
}

func marksOf(s *session) [3]string {
	return [3]string{markKey(events.Subject, s.Sub), markKey(events.Client, s.Client), markKey(events.Issuer, "")}
}

// read fetches the marks that the sessions are compared with.
func (c *census) read(ctx context.Context, ss []*session) error {
	var missing []string
	for _, s := range ss {
		for _, key := range marksOf(s) {
			if _, ok := c.marks[key]; !ok {
				c.marks[key] = mark{}
				missing = append(missing, key)
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	records, err := c.i.store.getAll(ctx, missing...)
	if err != nil {
		return err
	}
	for n, r := range records {
		m, err := decodeMark(r)
		if err != nil {
			return err
		}
		c.marks[missing[n]] = m
	}
	return nil
}

func (c *census) alive(s *session) (bool, error) {
	keys := marksOf(s)
	m := marks{c.marks[keys[0]], c.marks[keys[1]], c.marks[keys[2]]}
	if m.over(s) {
		return false, nil
	}
	covered, err := c.i.covered(s)
	return !covered, err
}

// filter says whose sessions; empty: any.
type filter struct{ sub, client string }

func (f filter) pattern() string {
	part := func(s string) string {
		if s == "" {
			return "*"
		}
		return base64.RawURLEncoding.EncodeToString([]byte(s))
	}
	return "x." + part(f.sub) + "." + part(f.client) + ".*"
}

func (f filter) holds(s *session) bool {
	return (f.sub == "" || f.sub == s.Sub) && (f.client == "" || f.client == s.Client)
}

// position is an index record and where it is in the bucket.
type position struct {
	index
	at uint64
}

// indexes reads at most n index records behind a position; follow is how many there are behind the last one.
func (c *census) indexes(ctx context.Context, f filter, after uint64, n int) (xs []position, follow uint64, err error) {
	err = c.i.store.eachAfter(ctx, f.pattern(), after, func(r record, left uint64) bool {
		follow = left
		x, err := decodeIndex(r)
		if err != nil {
			c.damage(err)
		} else {
			xs = append(xs, position{x, r.revision})
		}
		return len(xs) < n
	})
	return xs, follow, err
}

// page is the living sessions that began after the cursor, at most limit of them, oldest first. next is the cursor of the
// following page; 0: there is none. A page costs what it reads, wherever it is.
func (i *Issuer) page(ctx context.Context, f filter, after uint64, limit int) (out []*session, next uint64, err error) {
	if len(f.sub) > events.MaxKey || len(f.client) > events.MaxKey {
		return nil, 0, nil // nobody's, and too long for a subject of NATS
	}
	c := i.newCensus()
	for {
		want := limit - len(out)
		xs, _, err := c.indexes(ctx, f, after, want+1)
		if err != nil {
			return nil, 0, err
		}
		more := len(xs) > want
		if more {
			xs = xs[:want]
		}
		living, err := c.living(ctx, xs)
		if err != nil {
			return nil, 0, err
		}
		out = append(out, living...)
		switch {
		case !more:
			return out, 0, nil
		case len(out) == limit:
			return out, xs[want-1].at, nil
		}
		after = xs[want-1].at
	}
}
