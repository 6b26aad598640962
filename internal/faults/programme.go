package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// result is what a run of the programme found.
type result struct {
	episodes []episode
	rechecks int // revoked tokens shown to every node once more at the end
	platform platform
	load     string
}

// programme runs faults one after another in one world. The whole form has a disk that can be filled, if that is allowed, and
// nodes as teams configure them. In the short one, which runs on any machine, they wait for issuers as long as the driver does.
func programme(ctx context.Context, bin binaries, faults []fault, whole bool, said func(string, ...any)) (r *result, err error) {
	began := time.Now()
	w, err := newWorld(bin, said)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	w.whole = whole
	if err := w.build(ctx, 3, 2); err != nil {
		return nil, err
	}
	if err := w.addFleet(); err != nil {
		return nil, err
	}
	if err := w.begin(ctx, 2); err != nil {
		return nil, err
	}
	said("everything is started")
	w.heal(ctx)
	w.settle(ctx, 0)
	if v := w.judge.harvest(); len(v.found) > 0 {
		return nil, fmt.Errorf("the world is not well before the first fault: %v at %s: %s", v.found[0].invariant, v.found[0].node, v.found[0].what)
	}
	before := w.census(ctx)
	r = &result{}
	for _, f := range faults {
		r.episodes = append(r.episodes, w.run(ctx, f))
		if f.needs&oldVersions != 0 { // what other programs held says nothing of these
			before = w.census(ctx)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	r.episodes = append(r.episodes, w.last(ctx, before, r))
	r.load = load()
	r.platform = platform{nats: w.conn.ConnectedServerVersion(), disk: w.mounted != "", took: time.Since(began)}
	if b := bin.before; b != nil {
		r.platform.before = fmt.Sprintf("All of it began as older versions: %s.", b.names)
	}
	return r, nil
}

// build starts NATS and the issuers.
func (w *world) build(ctx context.Context, servers, issuers int) error {
	ctx, cancel := w.patient(ctx)
	defer cancel()
	if err := w.startServers(servers); err != nil {
		return err
	}
	if err := w.open(ctx); err != nil {
		return err
	}
	if issuers > 0 {
		return w.addIssuers(ctx, issuers)
	}
	return nil
}

// err is nil if every promise was kept.
func (r *result) err() error {
	var errs []error
	for _, e := range r.episodes {
		errs = append(errs, e.err, e.unfelt)
		for i, v := range e.found {
			if i == 5 {
				errs = append(errs, fmt.Errorf("%s: and %d more", e.name, len(e.found)-i))
				break
			}
			errs = append(errs, fmt.Errorf("%s: %v VIOLATED at %s: %s", e.name, v.invariant, v.node, v.what))
		}
	}
	return errors.Join(errs...)
}

// table is fault × invariant as markdown.
func (r *result) table() string {
	var b strings.Builder
	b.WriteString("| fault |")
	for i := i1; i <= lastCheck; i++ {
		fmt.Fprintf(&b, " %v |", i)
	}
	b.WriteString(" nodes healed after | publishers | issuers | acknowledged | not | answers 200 / 401 / 503 / none | oldest view a Deny node accepted with | machine stalled, in all / at once | felt |\n|---|")
	b.WriteString(strings.Repeat("---|", int(lastCheck)+9) + "\n")
	for _, e := range r.episodes {
		fmt.Fprintf(&b, "| %s |", e.title())
		for i := i1; i <= lastCheck; i++ {
			fmt.Fprintf(&b, " %s |", e.verdict(i))
		}
		fmt.Fprintf(&b, " %s | %s | %s | %d | %d | %d / %d / %d / %d | %s | %s / %s | %s |\n", seconds(e.nodes), seconds(e.publish), seconds(e.issuers), e.acked, e.lost,
			e.accepted, e.refused, e.unjudged, e.none, seconds(e.worst), seconds(e.stalled[0]), seconds(e.stalled[1]), e.effect())
	}
	return b.String()
}

func (e episode) title() string {
	if e.hold == 0 {
		return e.name
	}
	return fmt.Sprintf("%s (%v)", e.name, e.hold)
}

func (e episode) verdict(i invariant) string {
	n := 0
	for _, v := range e.found {
		if v.invariant == i {
			n++
		}
	}
	if e.err != nil {
		return "not run"
	}
	if n > 0 {
		return fmt.Sprintf("**VIOLATED** ×%d", n)
	}
	return "ok"
}

// effect is what was felt of it, for people.
func (e episode) effect() string {
	switch {
	case e.err != nil && e.felt == "":
		return e.err.Error()
	case e.unfelt != nil:
		return "**NOT FELT**"
	}
	return strings.ReplaceAll(e.felt, "|", "/")
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
