package issuer

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/quash-auth/quash/cache"
	"github.com/quash-auth/quash/events"
)

const (
	returnRun  = 250              // statements that are given back at once
	returnWait = 10 * time.Second // for a run under the IDs that its statements had
)

// publishLost gives statements back, and returns the last sequence of them. Replicas do that at the same time: each begins
// somewhere else and leaves out what another one has published meanwhile, because a batch with one duplicate is refused whole.
func (i *Issuer) publishLost(ctx context.Context, lost []events.Revocation, seen *cache.Denylist) (last uint64, err error) {
	from := rand.IntN(len(lost))
	lost = slices.Concat(lost[from:], lost[:from])
	run := make([]events.Revocation, 0, returnRun)
	anew := false // IDs
	for n, r := range lost {
		if r.Until.After(i.cfg.Now().Add(lastMoment)) && !seen.Holds(statement(r, 0)) { // many take longer than some live
			run = append(run, r)
		}
		if len(run) < returnRun && n < len(lost)-1 || len(run) == 0 {
			continue
		}
		if anew {
			for n := range run {
				run[n].ID = events.NewID()
			}
		}
		at, spent, err := i.giveRun(ctx, run)
		anew = anew || spent
		if err != nil {
			return 0, err
		}
		last = max(last, at)
		i.counts.returned.Add(uint64(len(run)))
		run = run[:0]
	}
	return last, nil
}

// giveRun gives statements back under the IDs that they had, so that of several replicas one does. Everybody who follows knows
// those, and who may send a beacon can use them for it, so that the server takes the statement for a repetition: what is
// refused so gets another ID. A statement that is stored twice only joins. spent: the wait for the old IDs was used up, and for
// every other run it would be too.
func (i *Issuer) giveRun(ctx context.Context, run []events.Revocation) (last uint64, spent bool, err error) {
	publish := func(ctx context.Context, rs []events.Revocation) (failed []events.BatchFailure, err error) {
		result, err := i.publisher.PublishAll(ctx, rs, nil)
		for _, ack := range result.Acks {
			last = max(last, ack.Sequence)
		}
		return result.Failed, err
	}
	wait, cancel := context.WithTimeout(ctx, returnWait)
	failed, err := publish(wait, run)
	spent = err != nil && wait.Err() != nil
	cancel()
	if err == nil || errors.Is(err, events.ErrFull) || ctx.Err() != nil {
		return last, spent, err
	}
	again := make([]events.Revocation, len(failed))
	for n, f := range failed {
		again[n] = run[f.Index]
		if errors.Is(f.Err, events.ErrInvalid) {
			again[n] = i.givable(again[n])
		}
		again[n].ID = events.NewID()
	}
	still, err := publish(ctx, again)
	for _, f := range still {
		if !errors.Is(f.Err, events.ErrInvalid) {
			return last, spent, err
		}
	}
	for _, f := range still { // one must not keep the others, and all new nodes, waiting
		r := run[failed[f.Index].Index]
		i.log.Error("the stream does not get back a statement that nobody may publish; revoke what it names again",
			"id", r.ID, "scope", r.Scope.String(), "error", f.Err)
	}
	return last, spent, nil
}

// givable is a statement in a form that a publisher takes. Readers take a far Until and any Gen; in the stream it lives a retention at most,
// and no token that exists now lives longer.
func (i *Issuer) givable(r events.Revocation) events.Revocation {
	r = sayable(r)
	r.Gen = min(r.Gen, events.MaxGen)
	if latest := i.retention.Until(i.cfg.Now()); r.Until.After(latest) {
		r.Until = latest
	}
	return r
}
