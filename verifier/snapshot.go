package verifier

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/cache"
	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/snapshot"
)

// keeper keeps the denylist's statements in a file. What it writes before a mark is a superset of what the denylist held then: a
// statement is appended before it is applied, unless the denylist says as much already, for as long.
type keeper struct {
	path   string
	id     snapshot.Identity
	file   *snapshot.Writer
	opened chan struct{} // closed when file is set, or cannot be because of why
	why    error
	read   bool // something of an earlier file is in force
	anew   bool // and perhaps not in this one
	batch  []snapshot.Statement
	marked time.Time // as-of of the last mark
}

const markEvery = time.Second

func newKeeper(c Config) (*keeper, error) {
	if c.Snapshot == "" {
		return nil, nil
	}
	if info, err := os.Stat(filepath.Dir(c.Snapshot)); err != nil || !info.IsDir() {
		return nil, configError("Snapshot", "%q is not in a directory that exists: make the directory", c.Snapshot)
	}
	if info, err := os.Stat(c.Snapshot); err == nil && !info.Mode().IsRegular() {
		return nil, configError("Snapshot", "%q is not a file", c.Snapshot)
	}
	return &keeper{path: c.Snapshot, id: owner(c), opened: make(chan struct{})}, nil
}

// owner is what a snapshot must have in common with the node that reads it: which tokens are judged, and by whose stream.
func owner(c Config) snapshot.Identity {
	var parts []string
	for _, i := range c.Issuers {
		parts = append(parts, "issuer "+i.Issuer)
	}
	if c.NATS != nil {
		for _, s := range servers(c.NATS) {
			parts = append(parts, "server "+s)
		}
	}
	slices.Sort(parts)
	return sha256.Sum256([]byte(strings.Join(slices.Compact(parts), "\n")))
}

// servers are the hosts that were configured, without credentials.
func servers(nc *nats.Conn) []string {
	var hosts []string
	for _, text := range append(slices.Clone(nc.Opts.Servers), nc.Opts.Url) {
		for one := range strings.SplitSeq(text, ",") {
			if u, err := url.Parse(strings.TrimSpace(one)); err == nil && u.Host != "" {
				hosts = append(hosts, u.Host)
			}
		}
	}
	return hosts
}

// warmStart loads the snapshot and goes on with the file. A snapshot that cannot be used costs the warm start, nothing else.
func (v *Verifier) warmStart() {
	k := v.keeper
	if k == nil {
		return
	}
	defer close(k.opened)
	if k.why = v.openSnapshot(); k.why != nil {
		v.log.Error("verifier: no snapshot will be written", "err", k.why)
	}
}

func (v *Verifier) openSnapshot() error {
	k := v.keeper
	own, err := snapshot.Own(k.path) // before it is read: another process may be about to append to it
	if err != nil {
		return err
	}
	contents, err := own.Read(k.id, v.restore)
	if err == nil {
		v.trust(contents)
		k.file, err = own.Append()
	}
	if err == nil {
		v.resume(contents.Mark)
	}
	if err != nil {
		v.warm.from.Store(nil)
		err = k.begin(own, v.log, err)
	}
	if err != nil {
		return errors.Join(err, own.Close())
	}
	return nil
}

// begin makes a new file in place of one that cannot be used because of why. Parts of that may be in force already.
func (k *keeper) begin(own *snapshot.File, log *slog.Logger, why error) (err error) {
	if !errors.Is(why, fs.ErrNotExist) {
		kept, err := own.Refuse()
		if errors.Is(err, snapshot.ErrInUse) {
			return err
		}
		log.Error("verifier: the snapshot cannot be used, reading the whole stream instead; the file is kept under another name", "err", why, "file", kept)
		if err != nil {
			log.Error("verifier: keep the refused snapshot", "err", err)
		}
	}
	k.anew = k.read
	k.file, err = own.Create(k.id)
	return err
}

// restore puts statements of the file into force.
func (v *Verifier) restore(batch []snapshot.Statement) error {
	v.keeper.read = true
	held := make([]cache.Statement, len(batch))
	for n, s := range batch {
		held[n] = cache.Statement{Scope: cache.Scope(s.Scope), Issuer: s.Issuer, Key: s.Key, Before: s.Before, Gen: s.Gen, Until: s.Until, Sequence: s.Sequence}
	}
	return v.deny.Apply(held)
}

// trust takes a snapshot's mark for what it is worth by the clocks of this machine.
func (v *Verifier) trust(c snapshot.Contents) {
	now := v.now()
	boot, uptime := snapshot.Boot()
	age, known := c.Mark.Age(now, boot, uptime)
	switch {
	case !c.Marked:
		v.log.Info("verifier: the snapshot was never complete", "statements", c.Statements)
	case !known:
		v.log.Error("verifier: the snapshot is from the future: this machine's clock is behind; waiting for the stream", "as_of", c.Mark.AsOf)
	default:
		v.warm.from.Store(&snapshotProof{asOf: c.Mark.AsOf, loaded: now, age: age,
			retention: events.Retention{MaxTokenLife: c.Mark.MaxTokenLife, Leeway: c.Mark.Leeway}})
		v.log.Info("verifier: snapshot loaded", "statements", c.Statements, "as_of", c.Mark.AsOf, "staleness", age, "torn", c.Torn)
	}
}

// placed is a feed that can say how far it has read, and go on from there: *events.Subscriber.
type placed interface {
	Place() events.Place
	Resume(events.Place)
}

// resume has the feed read only what came after the mark. Everything up to there is in force and in the file: one that is begun anew gets it
// back by reading the whole stream.
func (v *Verifier) resume(m snapshot.Mark) {
	if f, ok := v.warm.Feed.(placed); ok {
		f.Resume(events.Place{Stream: m.Stream, Last: events.Landmark(m.Last), Kept: events.Landmark(m.Kept)})
	}
}

// keep appends what the denylist does not say yet.
func (k *keeper) keep(deny *cache.Denylist, batch []cache.Statement) {
	if k == nil || k.file == nil {
		return
	}
	k.batch = k.batch[:0]
	for n := range batch {
		if s := &batch[n]; k.anew || !deny.Lasts(*s) {
			k.batch = append(k.batch, snapshot.Statement{Scope: uint8(s.Scope), Issuer: s.Issuer, Key: s.Key, Before: s.Before, Gen: s.Gen,
				Until: s.Until, Sequence: s.Sequence})
		}
	}
	if len(k.batch) > 0 {
		_ = k.file.Add(k.batch) // it stays in file.Err, and no mark follows
	}
}

// keepSnapshot writes marks and compacts until ctx ends.
func (v *Verifier) keepSnapshot(ctx context.Context) error {
	k := v.keeper
	<-k.opened // also when ctx has ended: whoever opened it must close it
	if k.file == nil {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(markEvery)
	defer tick.Stop()
	said := false
	var compactions sync.WaitGroup
	defer compactions.Wait()
	var compacting atomic.Bool
	for {
		select {
		case <-ctx.Done():
			v.mark()
			if err := k.file.Close(); err != nil {
				v.log.Error("verifier: close the snapshot", "err", err)
			}
			return nil
		case <-tick.C:
		}
		v.mark()
		if k.file.Due() && compacting.CompareAndSwap(false, true) {
			compactions.Go(func() { // beside the marks: it takes seconds for ten million statements, and a file is worth what its last mark says
				defer compacting.Store(false)
				if err := k.file.Compact(v.alive); err != nil && ctx.Err() == nil {
					v.log.Error("verifier: compact the snapshot", "err", err)
				}
			})
		}
		if err := k.file.Err(); err != nil && !said {
			said = true
			v.log.Error("verifier: the snapshot is not written any more: mend what the error says and restart this node", "err", err)
		}
	}
}

// mark writes how complete the file is, if the view is newer than at the last mark, and nothing is known to be missing in it.
func (v *Verifier) mark() {
	now := v.now()
	var at events.Place
	if f, ok := v.warm.Feed.(placed); ok {
		at = f.Place() // first: what was wrong with anything before it shows below
	}
	seen := v.warm.Feed.Freshness(now)
	st := v.warm.Feed.Status()
	if !seen.Synced || !seen.AsOf.After(v.keeper.marked) || st.Undecodable+v.unusable.Load() > 0 || v.full.Load() {
		return
	}
	m := snapshot.Mark{AsOf: seen.AsOf, Staleness: seen.Staleness, Written: now.Round(0), Sequence: st.Sequence,
		MaxTokenLife: st.Layout.Retention.MaxTokenLife, Leeway: st.Layout.Retention.Leeway,
		Stream: at.Stream, Last: snapshot.Landmark(at.Last), Kept: snapshot.Landmark(at.Kept)}
	m.Boot, m.Uptime = snapshot.Boot()
	if v.keeper.file.Mark(m) == nil {
		v.keeper.marked = seen.AsOf
	}
}

// alive: some node may still need the statement. Generous: a dead statement in the file does no harm.
func (v *Verifier) alive(s snapshot.Statement) bool {
	now := v.now()
	if asOf := v.warm.Feed.Freshness(now).AsOf; asOf.Before(now) {
		now = asOf
	}
	return s.Until >= now.Add(-5*time.Minute).Unix()
}

// snapshotProblem is why no snapshot is written, or empty.
func (k *keeper) problem() string {
	if k == nil {
		return ""
	}
	select {
	case <-k.opened:
	default:
		return ""
	}
	if k.file == nil {
		return fmt.Sprintf("the snapshot %s cannot be written: %v", filepath.Base(k.path), k.why)
	}
	if err := k.file.Err(); err != nil && !errors.Is(err, snapshot.ErrClosed) {
		return fmt.Sprintf("the snapshot %s is not written any more: %v", filepath.Base(k.path), err)
	}
	return ""
}
