package verifier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/quash-auth/quash/events"
)

// whole is a feed whose view gets no newer before those who keep a ledger of living statements say that the stream holds them all: one that
// was wiped, created again or restored from an older copy gets back what it lost a moment later. A node that starts in that moment knows
// nothing of it, and neither does one that comes back to it and was away when it was said.
type whole struct {
	*events.Subscriber
	log   *slog.Logger
	ask   func(context.Context) ([]events.Whole, error)
	most  time.Duration // how long to wait for a stream that is new to this node
	come  bool          // also for somebody to listen
	bound time.Duration // MaxStaleness
	now   func() time.Time

	objected map[string]time.Time // by whom and when last; of await alone
	listened bool                 // somebody was there to be asked, and has not stayed away since; of await alone

	waiting atomic.Pointer[string] // for what; nil: for nothing
}

const (
	wholeFactor = 4                      // of MaxStaleness, by default
	wholeLeast  = 30 * time.Second       // but not less: what there is to give back does not depend on it
	wholeBrief  = 2 * time.Second        // behind a new connection, when the view is too old already
	wholeAgain  = 100 * time.Millisecond // between two questions
	wholeSilent = 3 * time.Second        // for so long one who has objected and is not heard any more still counts
	wholeUsual  = 3 * time.Second        // nobody is told of a shorter wait, unless he asks for more than warnings
)

// Status says what is waited for.
func (w *whole) Status() events.Status {
	st := w.Subscriber.Status()
	if why := w.waiting.Load(); why != nil && st.LastError == "" {
		st.LastError = *why
	}
	return st
}

// await settles each doubt about the stream until ctx ends.
func (w *whole) await(ctx context.Context) error {
	known, fresh := w.Subscriber.Status().Rewinds, true // fresh: the stream is new to this node
	settled := uint64(0)
	for {
		before := w.Subscriber.Status().Rewinds // one that comes while we look has a doubt of its own
		number, news := w.Doubts()
		if number > settled {
			fresh = fresh || w.Subscriber.Status().Rewinds != known
			if w.settle(ctx, number, fresh) {
				known, fresh, settled = before, false, number
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-news:
		}
	}
}

// settle trusts the stream once it was read here and is whole, or after the longest wait. It is false if there was another doubt first.
func (w *whole) settle(ctx context.Context, number uint64, fresh bool) bool {
	current := func() bool {
		n, _ := w.Doubts()
		return n == number && ctx.Err() == nil
	}
	if !applied(w.WaitApplied(ctx, events.Position{Sequence: 1})) {
		return false
	}
	defer w.waiting.Store(nil)
	most := w.most
	if !fresh { // the stream goes on where it was: to wait costs nothing while the view is young enough
		most = max(wholeBrief, w.bound*3/4-w.Freshness(w.now()).Staleness)
	}
	began := time.Now()
	mctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	warned := false
	for said := false; current(); said = true {
		why := w.missing(mctx, fresh)
		switch {
		case ctx.Err() != nil:
			return false
		case why == "" && said && fresh:
			w.log.Info("verifier: the stream of revocations is whole", "after", time.Since(began))
		case why == "", pause(mctx, wholeAgain):
		case !w.Subscriber.Status().Connected: // behind the next connection there is another doubt
			_ = pause(ctx, wholeAgain)
		default:
			if why == events.ErrNoLedger.Error() {
				w.listened = false // nobody came back
			}
			w.log.Error("verifier: not waiting any longer, serving what the stream holds: tokens whose revocation it may have lost are accepted; start the issuer that is named, with its ledger", "waited", most, "for", why)
			why = ""
		}
		if why == "" {
			return w.Trust(number)
		}
		const waiting = "verifier: the stream of revocations may have lost statements that an issuer gives back: waiting"
		switch { // an issuer that starts together with the node takes a moment, and nothing is wrong
		case !said && fresh:
			w.log.Info(waiting, "for", why, "at_most", most)
		case !warned && time.Since(began) > wholeUsual:
			warned = true
			w.log.Warn(waiting, "for", why, "at_most", most)
		}
		text := fmt.Sprintf("%s; ready without it at %s", why, began.Add(most).UTC().Format(time.RFC3339))
		w.waiting.Store(&text)
	}
	return false
}

// missing is why the stream may not be whole, or empty: one who keeps a ledger and objects is enough, whatever others say. He may be too
// busy giving back to answer every question in time, and that is no consent; nor is it one when he connects anew.
func (w *whole) missing(ctx context.Context, fresh bool) string {
	answers, err := w.ask(ctx)
	w.listened = w.listened || err == nil
	why := w.objections(answers)
	switch {
	case why != "":
		return why
	case errors.Is(err, events.ErrNoLedger) && !w.listened && !(fresh && w.come):
		if fresh && err.Error() != events.ErrNoLedger.Error() {
			w.log.Warn("verifier: cannot ask whether the stream of revocations is whole", "err", err)
		}
		return ""
	case err != nil:
		return err.Error()
	case len(answers) == 0:
		return "an answer whether the stream holds everything that an issuer's ledger holds"
	}
	for _, a := range answers {
		if !w.reaches(ctx, a.At) {
			return fmt.Sprintf("sequence %d, up to which issuer %q has the stream", a.At.Sequence, a.Node)
		}
	}
	return ""
}

// objections are why somebody says that the stream is not whole, or has said so a moment ago.
func (w *whole) objections(answers []events.Whole) (why string) {
	now, created := time.Now(), w.Subscriber.Status().Created
	if w.objected == nil {
		w.objected = make(map[string]time.Time)
	}
	for _, a := range answers {
		delete(w.objected, a.Node)
	}
	for node, at := range w.objected {
		if now.Sub(at) > wholeSilent {
			delete(w.objected, node)
			continue
		}
		why = fmt.Sprintf("issuer %q, which did not find the stream whole a moment ago", node)
	}
	for _, a := range answers {
		switch {
		case a.At.Stream.IsZero():
			why = fmt.Sprintf("issuer %q compares the stream with its ledger", a.Node)
		case !a.At.Stream.Equal(created):
			why = fmt.Sprintf("issuer %q has not seen this stream yet", a.Node)
		default:
			continue
		}
		w.objected[a.Node] = now
	}
	return why
}

// reaches waits, not for long, until everything up to where the stream is whole has been applied here.
func (w *whole) reaches(ctx context.Context, at events.Position) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return applied(w.WaitApplied(ctx, at))
}

// applied: what cannot be read is applied as far as can be.
func applied(err error) bool { return err == nil || errors.Is(err, events.ErrUndecodable) }

// pause reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
