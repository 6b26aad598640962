package verifier

import (
	"fmt"
	"time"

	"github.com/quash-auth/quash/cache"
	"github.com/quash-auth/quash/events"
)

// Status is a snapshot for people and metrics.
type Status struct {
	Node, Role, Version string
	Uptime              time.Duration

	Ready error // what Ready returns
	// Degraded says what an operator should know although requests may still be served; empty if all is well.
	Degraded []string

	Synced       bool          // everything the stream held at the start was applied
	AsOf         time.Time     // the newest instant at which the view is known to have been complete
	Staleness    time.Duration // its age; 0 before the first sync
	Stale        bool          // not synced, or older than MaxStaleness
	MaxStaleness time.Duration
	OnStale      StalePolicy
	MaxTokenLife time.Duration
	Leeway       time.Duration

	Feed     events.Status
	Denylist cache.Stats
	Watches  int // contexts of Watch that are alive
	// SnapshotProblem is why Config.Snapshot is not written; empty: it is, or there is none. It is among Degraded, too.
	SnapshotProblem string
	Issuers         []IssuerStatus
}

// IssuerStatus is the part of Status about one issuer.
type IssuerStatus struct {
	Issuer  string
	Profile Profile
	Source  string    // url, file or static
	KeyIDs  []string  // in use
	Skipped int       // keys of the set that cannot be used here
	Notes   []string  // why, and what else is odd about the set
	ReadAt  time.Time // when the set was last confirmed; zero: never, or static
	Error   string    // why the newest reading failed; empty: it did not

	// Unenforceable are the scopes that cannot be enforced for at least one token accepted so far, because it lacked
	// the claim. A revocation of that scope has no effect on such tokens.
	Unenforceable []events.Scope
	// Undated says that tokens without iat were accepted: their life cannot be checked, and every statement with a cutoff
	// covers them whenever they were issued.
	Undated bool
}

// Ready returns nil if this node may be given traffic, or why not: ErrNoKey, ErrStale, ErrRetention, ErrFull,
// ErrUndecodable. With OnStale Allow a view that is merely too old does not make it unready.
func (v *Verifier) Ready() error { return v.ready(v.now(), v.rule) }

func (v *Verifier) ready(now time.Time, rule FreshnessRule) error {
	if v.closed.Load() {
		return errClosed
	}
	for _, i := range v.order {
		if err := i.keys.ready(); err != nil {
			return err
		}
	}
	st := v.feed.Status()
	if _, err := rule.stale(v.feed.Freshness(now)); err != nil {
		if v.full.Load() {
			return fmt.Errorf("%w: raise Config.MaxEntries", ErrFull)
		}
		if st.LastError != "" {
			return fmt.Errorf("%w (%s)", err, st.LastError)
		}
		return err
	}
	if err := v.retention(); err != nil {
		return fmt.Errorf("%w; create the stream with a longer retention, or configure less", err)
	}
	if v.full.Load() {
		return fmt.Errorf("%w: raise Config.MaxEntries", ErrFull)
	}
	if n := st.Undecodable + v.unusable.Load(); n > 0 && v.undecodable == NotReady {
		return fmt.Errorf("%w: %d so far; upgrade this node, or set OnUndecodable to StayReady", ErrUndecodable, n)
	}
	return nil
}

// trouble is Ready as if the policy were Deny: what is to be said aloud even when requests are served.
func (v *Verifier) trouble(now time.Time) error {
	rule := v.rule
	rule.OnStale = Deny
	return v.ready(now, rule)
}

// Status returns a snapshot.
func (v *Verifier) Status() Status {
	now := v.now()
	seen := v.feed.Freshness(now)
	s := Status{
		Node: v.node, Role: v.role, Version: v.version, Uptime: now.Sub(v.started),
		Ready:  v.Ready(),
		Synced: seen.Synced, AsOf: seen.AsOf, Staleness: seen.Staleness,
		MaxStaleness: v.rule.MaxStaleness, OnStale: v.rule.OnStale, MaxTokenLife: v.life, Leeway: v.leeway,
		SnapshotProblem: v.keeper.problem(),
		Feed:            v.feed.Status(), Denylist: v.deny.Stats(), Watches: int(v.watchers.number.Load()),
	}
	s.Stale, _ = v.rule.stale(seen)
	if err := v.trouble(now); err != nil {
		s.Degraded = append(s.Degraded, err.Error())
	}
	if n := s.Feed.Undecodable + v.unusable.Load(); n > 0 {
		s.Degraded = append(s.Degraded, fmt.Sprintf("%d statements could not be read and are not enforced", n))
	}
	if s.Feed.ClockBehind > 0 {
		s.Degraded = append(s.Degraded, fmt.Sprintf("this node's clock is at least %v behind", s.Feed.ClockBehind))
	}
	if s.SnapshotProblem != "" {
		s.Degraded = append(s.Degraded, s.SnapshotProblem)
	}
	for _, i := range v.order {
		is := i.status()
		if is.Error != "" {
			s.Degraded = append(s.Degraded, fmt.Sprintf("the keys of %q could not be read again: %s", is.Issuer, is.Error))
		}
		s.Issuers = append(s.Issuers, is)
	}
	return s
}

func (i *issuer) status() IssuerStatus {
	s := IssuerStatus{
		Issuer: i.name, Profile: i.profile, Source: i.source,
		Unenforceable: scopeSet(i.lacking.Load()).scopes(), Undated: i.undated.Load(),
	}
	if set := i.keys.set.Load(); set != nil {
		s.KeyIDs, s.Skipped, s.Notes = set.IDs(), set.Skipped, set.Notes
	}
	i.keys.mu.Lock()
	defer i.keys.mu.Unlock()
	s.ReadAt = i.keys.readAt
	if i.keys.err != nil {
		s.Error = i.keys.err.Error()
	}
	return s
}

// Report is what the node answers when the fleet is asked.
func (v *Verifier) Report() events.Report {
	now := v.now()
	seen := v.feed.Freshness(now)
	r := events.Report{
		Node: v.node, Role: v.role, Version: v.version, Uptime: now.Sub(v.started),
		Sequence: v.feed.Status().Sequence, AsOf: seen.AsOf, Staleness: seen.Staleness, Synced: seen.Synced,
		Entries:      v.deny.Stats().Entries,
		MaxStaleness: v.rule.MaxStaleness, OnStale: v.rule.OnStale.String(),
	}
	if seen.Synced {
		digest := v.deny.Digest(seen.AsOf)
		r.Digest, r.DigestFrom = digest.Sum, digest.From
	}
	var lacking scopeSet
	for _, i := range v.order {
		r.Issuers = append(r.Issuers, i.name)
		lacking |= scopeSet(i.lacking.Load())
	}
	for _, scope := range lacking.scopes() {
		r.Unenforceable = append(r.Unenforceable, scope.String())
	}
	if err := v.Ready(); err != nil {
		r.Error = err.Error()
	} else {
		r.Ready = true
	}
	return r
}
