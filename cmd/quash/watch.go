package main

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/run"

	"github.com/quash-auth/quash/events"
)

// watchCmd is "quash watch".
type watchCmd struct {
	All  bool `help:"Begin with every revocation that is still kept, then follow."`
	JSON bool `name:"json" help:"One JSON object per line."`

	natsFlags `embed:""`

	LogLevel string `default:"warn" enum:"debug,info,warn,error" help:"What to log on standard error: ${enum} (${default})."`
}

func (c *watchCmd) Run(p *program) error {
	log := p.logger(c.LogLevel)
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	conn, err := c.connectNow(ctx, "quash-watch", log)
	if err != nil {
		return err
	}
	defer conn.Close()
	w := &watcher{json: c.JSON, out: p.stdout, seen: map[uint64]time.Time{}, seed: maphash.MakeSeed(), now: time.Now}
	if !c.All {
		if w.skip, err = head(ctx, conn); err != nil {
			return err
		}
	}
	sub, err := events.NewSubscriber(events.SubscriberConfig{Conn: conn, Reader: c.NATSReader, Silent: true, SlotWait: -1, Logger: log})
	if err != nil {
		return fmt.Errorf("preparing to follow: %w", err)
	}
	w.rewinds = func() uint64 { return sub.Status().Rewinds }

	var g run.Group
	addRun(&g, func(ctx context.Context) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		err := sub.Run(ctx, func(_ context.Context, batch []events.Event) error {
			if err := w.apply(batch); err != nil {
				cancel(err) // standard output is gone: nobody watches any more
			}
			return nil
		})
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
			return fmt.Errorf("writing to standard output: %w", cause)
		}
		return err
	})
	addSignals(&g)
	return runGroup(&g)
}

// watcher prints each revocation once, though the subscriber may hand it over
// more than once and out of order.
type watcher struct {
	json    bool
	out     io.Writer
	skip    uint64        // what was stored up to here is not news
	rewinds func() uint64 // after a rewind sequences start again and skip means nothing
	seed    maphash.Seed
	seen    map[uint64]time.Time // hash of the ID → until: afterwards the stream has forgotten it
	swept   time.Time
	now     func() time.Time
}

func (w *watcher) apply(batch []events.Event) error {
	now := w.now()
	if now.Sub(w.swept) > time.Minute {
		w.swept = now
		for h, until := range w.seen {
			if now.Sub(until) > time.Hour {
				delete(w.seen, h)
			}
		}
	}
	for _, e := range batch {
		h := maphash.String(w.seed, e.Revocation.ID)
		if _, ok := w.seen[h]; ok {
			continue
		}
		w.seen[h] = e.Revocation.Until
		if e.Sequence <= w.skip && w.rewinds() == 0 {
			continue
		}
		if err := w.print(e); err != nil {
			return err
		}
	}
	return nil
}

// watched is the JSON that quash watch prints.
type watched struct {
	Sequence uint64     `json:"sequence"`
	Time     time.Time  `json:"time"`
	ID       string     `json:"id"`
	ISS      string     `json:"iss"`
	Scope    string     `json:"scope"`
	Key      string     `json:"key,omitempty"`
	Before   *time.Time `json:"before,omitempty"`
	Gen      uint64     `json:"gen,omitempty"`
	Until    time.Time  `json:"until"`
	By       string     `json:"by,omitempty"`
	Actor    string     `json:"actor,omitempty"`
	Reason   string     `json:"reason,omitempty"`
	Txn      string     `json:"txn,omitempty"`
}

func (w *watcher) print(e events.Event) error {
	r := e.Revocation
	if w.json {
		out := watched{Sequence: e.Sequence, Time: e.Time.UTC(), ID: r.ID, ISS: r.Issuer, Scope: r.Scope.String(), Key: r.Key,
			Gen: r.Gen, Until: r.Until.UTC(), By: r.By, Actor: r.Actor, Reason: r.Reason, Txn: r.Txn}
		if !r.Before.IsZero() {
			before := r.Before.UTC()
			out.Before = &before
		}
		return writeJSON(w.out, out)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-6d  %-7s  %s", e.Time.UTC().Format("2006-01-02T15:04:05.000Z"), e.Sequence, r.Scope, printable(r.Key))
	for _, f := range []struct{ name, value string }{
		{"iss", r.Issuer}, {"by", r.By}, {"actor", r.Actor}, {"reason", r.Reason}, {"txn", r.Txn},
	} {
		if f.value != "" {
			fmt.Fprintf(&b, "  %s=%s", f.name, printable(f.value))
		}
	}
	if !r.Before.IsZero() {
		fmt.Fprintf(&b, "  before=%s", r.Before.UTC().Format(time.RFC3339))
	}
	if r.Gen != 0 {
		fmt.Fprintf(&b, "  gen<%d", r.Gen)
	}
	_, err := fmt.Fprintln(w.out, b.String())
	return err
}

// printable quotes what could move the cursor or look like another field:
// publishers are not the terminal's friends by default.
func printable(s string) string {
	quoted := fmt.Sprintf("%+q", s)
	if quoted == `"`+s+`"` && !strings.ContainsAny(s, " =") {
		return s
	}
	return quoted
}

// harmless is printable for a whole sentence: only what could move the cursor or
// hide text is replaced.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// head is the last sequence of the stream.
func head(ctx context.Context, conn *nats.Conn) (uint64, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return 0, fmt.Errorf("opening JetStream: %w", err)
	}
	stream, err := js.Stream(ctx, events.StreamName)
	if err != nil {
		return 0, fmt.Errorf("reading the stream %s: %w: create it with quash stream ensure", events.StreamName, err)
	}
	return stream.CachedInfo().State.LastSeq, nil
}
