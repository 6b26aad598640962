package verifier

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/quash-auth/quash/events"
)

// Run follows the feed, lets statements go that no token needs any more, reads key sets, and (with Config.NATS) answers the
// fleet's questions. It returns nil when ctx ends, after everything it started has ended, and never for a network reason.
// It can be called once: at its end the Verifier is closed.
func (v *Verifier) Run(ctx context.Context) error {
	if v.closed.Load() || v.running.Swap(true) {
		return errors.New("verifier: Run can be called once")
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	failed := make(chan error, 1)
	work := func(name string, f func(context.Context) error) {
		all.Go(func() {
			err := f(ctx)
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				err = errors.New("ended by itself")
			}
			select { // a mistake of ours or of the Feed, not of the network
			case failed <- fmt.Errorf("verifier: %s: %w", name, err):
			default:
			}
			stop()
		})
	}
	if v.nc != nil {
		r, err := events.NewResponder(events.ResponderConfig{
			Conn: v.nc, Node: v.node, Report: v.Report, WaitApplied: v.feed.WaitApplied,
		})
		if err != nil {
			return errors.Join(fmt.Errorf("verifier: answer the fleet: %w", err), v.Close())
		}
		work("answer the fleet", r.Run)
	}
	for _, i := range v.order {
		i.keys.start()
		work("read keys", func(ctx context.Context) error { i.keys.run(ctx); return nil })
	}
	work("sweep the denylist", v.deny.Run)
	if v.memo != nil {
		work("remember tokens", v.fillMemo)
	}
	began, real := v.now(), time.Now()
	work("look after itself", func(ctx context.Context) error { return v.attend(ctx, began, real) })
	if v.whole != nil {
		work("ask for a ledger", v.whole.await)
	}
	if v.keeper != nil {
		work("keep the snapshot", v.keepSnapshot)
	}
	work("follow the feed", func(ctx context.Context) error {
		v.warmStart()
		return v.feed.Run(ctx, v.apply)
	})
	all.Wait()
	select {
	case err := <-failed:
		return errors.Join(err, v.Close())
	default:
		return v.Close()
	}
}

const (
	slowestTick = time.Second
	fastestTick = 10 * time.Millisecond
	clockMoved  = time.Second // wall clock against ticker
	loudAgain   = time.Minute // how often a lasting trouble is logged
)

// attend looks every now and then at what nobody else would notice: a view that ages, a stream whose promise changed, a
// clock that jumped: last is v's clock and lastTick the machine's, when it was looked at before.
func (v *Verifier) attend(ctx context.Context, last, lastTick time.Time) error {
	period := min(max(v.rule.MaxStaleness/4, fastestTick), slowestTick)
	tick := time.NewTicker(period)
	defer tick.Stop()
	var loud speaker
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, real := v.now(), time.Now()
		if v.feed.Freshness(now).Synced { // before, the promise is not known, and no verdict over it may stand
			v.look()
		}
		moved := now.Round(0).Sub(last.Round(0)) - real.Sub(lastTick)
		last, lastTick = now, real
		bound := time.Duration(v.watchers.tightest.Load())
		if seen := v.feed.Freshness(now); bound != 0 && seen.Staleness > bound || moved > clockMoved || moved < -clockMoved {
			v.watchers.recheck(now)
		}
		loud.say(v, now)
	}
}

// speaker logs a trouble when it starts, every minute while it lasts, and when it is over.
type speaker struct {
	last error // the kind of the trouble
	at   time.Time
}

func (s *speaker) say(v *Verifier, now time.Time) {
	trouble := v.trouble(now)
	var kind error
	for _, k := range [...]error{ErrRetention, ErrNoKey, ErrFull, ErrUndecodable, ErrStale} {
		if kind == nil && errors.Is(trouble, k) {
			kind = k
		}
	}
	switch {
	case trouble == nil && s.last == nil:
		return
	case trouble == nil:
		v.log.Info("verifier: all is well again")
	case kind == s.last && now.Sub(s.at) < loudAgain:
		return
	default:
		v.log.Error("verifier: trouble", "err", trouble, "on_stale", v.rule.OnStale.String())
	}
	s.last, s.at = kind, now
}

// promise is what was found out about the stream's retention.
type promise struct{ err error }

// look compares what the stream promises with what this verifier accepts.
func (v *Verifier) look() *promise {
	r := v.feed.Status().Layout.Retention
	life, leeway := or(r.MaxTokenLife, events.DefaultMaxTokenLife), or(r.Leeway, events.DefaultLeeway)
	p := &promise{}
	switch {
	case life < v.life:
		p.err = fmt.Errorf("%w: %w: it remembers for tokens that live %v, MaxTokenLife is %v", ErrStale, ErrRetention, life, v.life)
	case leeway < v.leeway:
		p.err = fmt.Errorf("%w: %w: it allows for a leeway of %v, Leeway is %v", ErrStale, ErrRetention, leeway, v.leeway)
	}
	v.promise.Store(p)
	return p
}

// retention returns nil if every statement stays in the stream for as long as this verifier accepts a token it covers.
// It must only be asked once the feed is synced: before, the promise is not known.
func (v *Verifier) retention() error {
	p := v.promise.Load()
	if p == nil {
		p = v.look()
	}
	return p.err
}
