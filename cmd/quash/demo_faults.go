package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"
)

// stepRestart rebuilds a node while a thief hammers it with revoked tokens.
func stepRestart(ctx context.Context, d *demo) (found, error) {
	m := d.world.members[0]
	thief := startThief(m.url(), d.revoked)
	began := time.Now()
	if err := m.stop(); err != nil {
		return found{}, errors.Join(err, thief.task.stop())
	}
	if err := m.start(); err != nil {
		return found{}, errors.Join(err, thief.task.stop())
	}
	err := poll(ctx, func() error {
		a, err := d.client.get(ctx, m.url(), d.latest.Access)
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%s answered %d: %s", m.name, a.status, a.text())
		}
		return err
	})
	took := time.Since(began)
	if err == nil {
		err = thief.callOn(ctx, 100)
	}
	if err := errors.Join(err, thief.task.stop()); err != nil {
		return found{}, err
	}
	if thief.accepted > 0 {
		return found{}, fmt.Errorf("%d calls with revoked tokens were accepted", thief.accepted)
	}
	if thief.refused+thief.unready == 0 {
		return found{}, errors.New("no call reached the node, so nothing was proven")
	}
	return found{fmt.Sprintf("%d calls with revoked tokens: 0 accepted, %d × 401, %d × 503, %d not connected", thief.calls.Load(), thief.refused, thief.unready, thief.down), took}, nil
}

// thief calls one node with revoked tokens, each time on a new connection.
type thief struct {
	task                             *task
	calls                            atomic.Int64
	accepted, refused, unready, down int // valid once the task has stopped
}

func startThief(url string, tokens []string) *thief {
	t := &thief{}
	c := &client{http: &http.Client{
		Timeout:   2 * time.Second,
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: time.Second}).DialContext},
	}}
	t.task = start(func(ctx context.Context) error {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			a, err := c.get(context.Background(), url, tokens[int(t.calls.Load())%len(tokens)])
			switch {
			case err != nil:
				t.down++
			case a.status == http.StatusUnauthorized:
				t.refused++
			case a.status == http.StatusServiceUnavailable:
				t.unready++
			default:
				t.accepted++ // anything else is a surprise, and none may happen
			}
			t.calls.Add(1)
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
		return nil
	})
	return t
}

// callOn waits until the thief has made n more calls.
func (t *thief) callOn(ctx context.Context, n int64) error {
	enough := t.calls.Load() + n
	return poll(ctx, func() error {
		if now := t.calls.Load(); now < enough {
			return fmt.Errorf("%d of %d calls made", now, enough)
		}
		return nil
	})
}

func stepOutage(ctx context.Context, d *demo) (found, error) {
	began, err := d.stopNATS(ctx)
	if err != nil {
		return found{}, err
	}
	limited, cancel := context.WithTimeout(ctx, d.world.maxStaleness+30*time.Second)
	defer cancel()
	if err := poll(limited, func() error {
		return d.everyNode(limited, d.latest.Access, http.StatusServiceUnavailable)
	}); err != nil {
		return found{}, err
	}
	took := time.Since(began)
	a, err := d.client.get(ctx, d.world.members[0].url(), d.latest.Access)
	if err != nil {
		return found{}, err
	}
	if a.header.Get("Retry-After") == "" {
		return found{}, errors.New("the 503 has no Retry-After")
	}
	return found{fmt.Sprintf("200 and 401 at first; all 503 after %s, bound %v", seconds(took), d.world.maxStaleness), took}, nil
}

// stopNATS asks every node right after NATS has stopped, and gives the time of that. Nodes whose view has become too old by then, because
// this machine was too slow, prove nothing: NATS comes back, and it is tried again.
func (d *demo) stopNATS(ctx context.Context) (stopped time.Time, err error) {
	for range 5 {
		began := time.Now()
		d.world.nats.stop()
		stopped = time.Now()
		err = d.everyNode(ctx, d.latest.Access, http.StatusOK)
		if err == nil {
			err = d.everyNode(ctx, d.revoked[0], http.StatusUnauthorized)
		}
		if err == nil {
			return stopped, nil
		}
		if !notNow(err) || time.Since(began) < d.world.maxStaleness-1500*time.Millisecond { // the newest beacon may be a second old
			break
		}
		if failed := errors.Join(d.world.restartNATS(), poll(ctx, func() error { return d.everyNode(ctx, d.latest.Access, http.StatusOK) })); failed != nil {
			return stopped, failed
		}
	}
	return stopped, fmt.Errorf("right after NATS stopped: %w", err)
}

// notNow reports whether all that an error of askNodes tells is that nodes answered 503.
func notNow(err error) bool {
	all, ok := err.(interface{ Unwrap() []error })
	return ok && !slices.ContainsFunc(all.Unwrap(), func(e error) bool { return !errors.Is(e, errNotNow) })
}

func stepHeal(ctx context.Context, d *demo) (found, error) {
	if err := d.world.restartNATS(); err != nil {
		return found{}, err
	}
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := poll(limited, func() error { return d.everyNode(limited, d.latest.Access, http.StatusOK) }); err != nil {
		return found{}, err
	}
	took := time.Since(began)
	for _, t := range d.revoked {
		if err := d.everyNodeAtLast(ctx, t, http.StatusUnauthorized); err != nil {
			return found{}, fmt.Errorf("a revoked token after the outage: %w", err)
		}
	}
	if err := poll(limited, d.world.issuer.ready); err != nil {
		return found{}, err
	}
	a, err := d.client.refresh(ctx, d.latest.Refresh)
	if err != nil {
		return found{}, err
	}
	if a.status != http.StatusOK {
		return found{}, fmt.Errorf("the refresh after the outage answered %d %s", a.status, a.text())
	}
	return found{fmt.Sprintf("200 from %d of %d, revoked ones still 401", d.world.size, d.world.size), took}, nil
}
