package verifier_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier"
)

// TestPeerBug05_FeedSilent: nothing arrives, so the staleness grows, and the policy fires.
func TestPeerBug05_FeedSilent(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	raw, dead := mint(r.clock.Now(), nil), mint(r.clock.Now(), object{"jti": "dead"})
	r.revoke(t, events.Revocation{Scope: events.Token, Key: "dead"})
	r.feed.silence()
	r.clock.Advance(30 * time.Second)
	r.accepts(t, "at the bound", raw)
	if err := r.Ready(); err != nil {
		t.Errorf("Ready at the bound: %v", err)
	}
	r.clock.Advance(time.Millisecond)
	r.refuses(t, "beyond the bound", raw, verifier.ErrStale)
	r.refuses(t, "revoked is revoked, however old the view", dead, verifier.ErrRevoked)
	if err := r.Ready(); !errors.Is(err, verifier.ErrStale) || !strings.Contains(err.Error(), "30.001s") {
		t.Errorf("Ready: got %v, want ErrStale with the age", err)
	}
	if s := r.Status(); !s.Stale || s.Staleness != 30*time.Second+time.Millisecond || len(s.Degraded) == 0 || s.Ready == nil {
		t.Errorf("status: got %+v", s)
	}
	if s := r.Stats(); s.Stale != 1 || s.Revoked != 1 || s.Accepted != 1 {
		t.Errorf("stats: got %+v", s)
	}
	within := func(f verifier.FreshnessRule) error {
		f.Set = true
		_, err := r.VerifyWithin(context.Background(), raw, f)
		return err
	}
	if err := within(verifier.FreshnessRule{MaxStaleness: time.Minute}); err != nil {
		t.Errorf("a looser rule: %v", err)
	}
	if err := within(verifier.FreshnessRule{OnStale: verifier.Allow}); err != nil {
		t.Errorf("a rule that allows: %v", err)
	}
	if got := r.Stats().AcceptedStale; got != 1 {
		t.Errorf("accepted stale: got %d, want 1", got)
	}
	r.feed.heal()
	r.accepts(t, "healed", raw)
	if err := within(verifier.FreshnessRule{MaxStaleness: time.Nanosecond}); err != nil {
		t.Errorf("a tighter rule while fresh: %v", err)
	}
	r.feed.silence()
	r.clock.Advance(time.Second)
	if err := within(verifier.FreshnessRule{MaxStaleness: 999 * time.Millisecond}); !errors.Is(err, verifier.ErrStale) {
		t.Errorf("a tighter rule: got %v, want ErrStale", err)
	}
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestM13_AllowIsLoud(t *testing.T) {
	t.Parallel()
	var log logBuffer
	r := newRig(t, func(c *verifier.Config, _ *memFeed) {
		c.OnStale, c.MaxStaleness = verifier.Allow, 50*time.Millisecond
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	raw := mint(r.clock.Now(), nil)
	r.feed.silence()
	r.clock.Advance(time.Minute)
	r.accepts(t, "stale, allowed", raw)
	if err := r.Ready(); err != nil {
		t.Errorf("Ready: got %v; Allow means to serve", err)
	}
	if s := r.Status(); !s.Stale || len(s.Degraded) == 0 || s.OnStale != verifier.Allow {
		t.Errorf("status: got %+v, want stale and degraded", s)
	}
	eventually(t, "a loud log line", func() bool { return strings.Contains(log.String(), "level=ERROR") })
	r.feed.heal()
	eventually(t, "the all-clear", func() bool { return strings.Contains(log.String(), "all is well") })
	if strings.Contains(log.String(), raw) || strings.Contains(log.String(), strings.Split(raw, ".")[1]) {
		t.Error("the log holds a token")
	}
}

// TestM15_RetentionMustCoverTheTokens: a stream that forgets too early must not be trusted with absence.
func TestM15_RetentionMustCoverTheTokens(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what   string
		stream events.Retention
		change func(*verifier.Config)
		enough bool
	}{
		{"defaults", events.Retention{}, func(*verifier.Config) {}, true},
		{"longer stream", events.Retention{MaxTokenLife: 2 * time.Hour}, func(c *verifier.Config) { c.MaxTokenLife = 2 * time.Hour }, true},
		{"shorter stream", events.Retention{MaxTokenLife: 59 * time.Minute}, func(*verifier.Config) {}, false},
		{"longer tokens", events.Retention{}, func(c *verifier.Config) { c.MaxTokenLife = 61 * time.Minute }, false},
		{"more leeway", events.Retention{}, func(c *verifier.Config) { c.Leeway = 61 * time.Second }, false},
		{"all leeway", events.Retention{}, func(c *verifier.Config) { c.Leeway = 60 * time.Second }, true},
	} {
		r := newRig(t, func(c *verifier.Config, f *memFeed) {
			f.layout.Retention = test.stream
			c.OnStale = verifier.Allow
			test.change(c)
		})
		_, err := r.Verify(context.Background(), mint(r.clock.Now(), nil))
		ready := r.Ready()
		if test.enough {
			if err != nil || ready != nil {
				t.Errorf("%s: got %v, ready %v", test.what, err, ready)
			}
			continue
		}
		if !errors.Is(err, verifier.ErrStale) || !errors.Is(ready, verifier.ErrRetention) {
			t.Errorf("%s: got %v, ready %v; want not judged and ErrRetention", test.what, err, ready)
		}
	}
}

// countedFeed says how often it was asked for its status.
type countedFeed struct {
	*memFeed
	asked atomic.Int64
}

func (f *countedFeed) Status() events.Status {
	f.asked.Add(1)
	return f.memFeed.Status()
}

// TestRetentionIsJudgedOnceItIsKnown: a node that waits for its broker has looked at a promise that it did not know, and
// must serve from its first sync all the same.
func TestRetentionIsJudgedOnceItIsKnown(t *testing.T) {
	t.Parallel()
	feed := &countedFeed{}
	r := newRig(t, func(c *verifier.Config, f *memFeed) {
		f.synced.Store(false)
		feed.memFeed, c.Feed = f, feed
		c.MaxTokenLife, c.MaxStaleness = 2*time.Hour, 800*time.Millisecond
	})
	began := feed.asked.Load()
	eventually(t, "it has looked after itself", func() bool { return feed.asked.Load() > began+1 })
	feed.mu.Lock()
	feed.layout.Retention = events.Retention{MaxTokenLife: 2 * time.Hour}
	feed.mu.Unlock()
	feed.synced.Store(true)
	if _, err := r.Verify(context.Background(), mint(r.clock.Now(), nil)); err != nil {
		t.Errorf("the first token after the first sync: %v", err)
	}
}

func TestUndecodable(t *testing.T) {
	t.Parallel()
	for _, policy := range []verifier.UndecodablePolicy{verifier.NotReady, verifier.StayReady} {
		r := newRig(t, func(c *verifier.Config, _ *memFeed) { c.OnUndecodable = policy })
		if err := r.Ready(); err != nil {
			t.Fatal(err)
		}
		r.feed.undecodable.Store(3)
		if err := r.Ready(); errors.Is(err, verifier.ErrUndecodable) != (policy == verifier.NotReady) {
			t.Errorf("%v: Ready: got %v", policy, err)
		}
		if s := r.Status(); len(s.Degraded) == 0 {
			t.Errorf("%v: not degraded", policy)
		}
	}
	r := newRig(t, nil)
	if err := r.feed.publish(events.Revocation{Scope: 77, Issuer: issA, Key: "x", Until: r.clock.Now().Add(time.Hour)}); err != nil {
		t.Fatalf("an unusable event must not stop the feed: %v", err)
	}
	if err := r.Ready(); !errors.Is(err, verifier.ErrUndecodable) {
		t.Errorf("Ready after an unknown scope: got %v", err)
	}
	if got := r.Stats().Unusable; got != 1 {
		t.Errorf("unusable: got %d, want 1", got)
	}
}

func TestFull(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *verifier.Config, _ *memFeed) { c.MaxEntries = 2 })
	r.revoke(t, events.Revocation{Scope: events.Token, Key: "1"}, events.Revocation{Scope: events.Token, Key: "2"})
	if err := r.Ready(); err != nil {
		t.Fatal(err)
	}
	if err := r.feed.publish(r.complete(events.Revocation{Scope: events.Token, Key: "3"})); err == nil {
		t.Fatal("a statement that does not fit must be handed back to the feed")
	}
	if err := r.Ready(); !errors.Is(err, verifier.ErrFull) {
		t.Errorf("Ready: got %v, want ErrFull", err)
	}
	for _, jti := range []string{"1", "2"} {
		r.refuses(t, "nothing living is dropped", mint(r.clock.Now(), object{"jti": jti}), verifier.ErrRevoked)
	}
	r.revoke(t, events.Revocation{Scope: events.Token, Key: "1"})
	if err := r.Ready(); err != nil {
		t.Errorf("Ready once everything fits again: %v", err)
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *verifier.Config, _ *memFeed) { c.Role, c.Version = "api", "v1" })
	r.revoke(t, events.Revocation{Scope: events.Token, Key: "1"}, events.Revocation{Scope: events.Token, Key: "2"})
	r.clock.Advance(time.Second)
	got := r.Report()
	if got.Node != "node-1" || got.Role != "api" || got.Version != "v1" || got.Sequence != 2 || got.Entries != 2 || !got.Synced ||
		!got.Ready || got.Error != "" || got.Uptime != time.Second || got.MaxStaleness != 30*time.Second || got.OnStale != "deny" {
		t.Errorf("got %+v", got)
	}
	r.feed.synced.Store(false)
	if got := r.Report(); got.Ready || got.Error == "" {
		t.Errorf("unsynced: got %+v", got)
	}
}

func TestStatsCountEveryKind(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	now := r.clock.Now()
	good, header := text(goodClaims(issA, now)), keyA.header()
	impostor := newES256("a1")
	for _, raw := range []string{
		"x", keyA.compact(text(with(header, object{"alg": "PS512"})), good), impostor.compact(text(header), good),
		keyA.compact(text(with(header, object{"kid": "?"})), good), keyA.compact(text(with(header, object{"typ": "x"})), good),
		mint(now, object{"iss": "x"}), mint(now, object{"aud": "x"}), mint(now, object{"exp": now.Unix() - 60, "iat": now.Unix() - 90}),
		mint(now, object{"nbf": now.Unix() + 60}), mint(now, object{"exp": now.Unix() + 7200}), mint(now, object{"sub": nil}),
	} {
		if _, err := r.Verify(context.Background(), raw); err == nil {
			t.Fatal("accepted")
		}
	}
	r.accepts(t, "good", mint(now, nil))
	got := r.Stats()
	want := verifier.Stats{
		Accepted: 1, Malformed: 1, Algorithm: 1, Signature: 1, NoKey: 1, Type: 1, Issuer: 1, Audience: 1, Expired: 1, NotYet: 1,
		Lifetime: 1, Claims: 1, MemoMisses: 12,
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestRevokedAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	now := r.clock.Now()
	claims := verifier.Claims{Issuer: issA, ID: "j1", Session: "s1", Subject: "u1", Client: "c1", KeyID: "k", IssuedAt: now}
	if err := r.Revoked(claims); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]verifier.Claims{"no issuer": {ID: "j1"}, "nothing to look up": {Issuer: issA}} {
		if err := r.Revoked(c); !errors.Is(err, verifier.ErrClaims) {
			t.Errorf("%s: got %v, want ErrClaims", what, err)
		}
	}
	r.revoke(t, events.Revocation{Scope: events.Subject, Key: "u1", Gen: 3})
	newer := claims
	newer.Gen, newer.HasGen = 3, true
	if err := r.Revoked(newer); err != nil {
		t.Errorf("newer generation: %v", err)
	}
	if err := r.Revoked(claims); !errors.Is(err, verifier.ErrRevoked) {
		t.Errorf("no generation: got %v", err)
	}
	foreign := verifier.Claims{Issuer: "https://elsewhere.example", Session: "s7"}
	r.revoke(t, events.Revocation{Issuer: foreign.Issuer, Scope: events.Session, Key: "s7"})
	if err := r.Revoked(foreign); !errors.Is(err, verifier.ErrRevoked) {
		t.Errorf("an issuer whose tokens somebody else verifies: got %v", err)
	}
	r.feed.silence()
	r.clock.Advance(time.Minute)
	if err := r.Revoked(newer); !errors.Is(err, verifier.ErrStale) {
		t.Errorf("stale: got %v", err)
	}
}

// TestS12_ClockSkew: a node whose clock is wrong by two minutes neither accepts a revoked token nor refuses a fresh login
// because of the revocation.
func TestS12_ClockSkew(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{-2 * time.Minute, 2 * time.Minute} {
		r := newRig(t, func(c *verifier.Config, _ *memFeed) { c.Leeway = 2 * time.Minute })
		r.feed.layout.Retention.Leeway = 2 * time.Minute
		issuerNow := r.clock.Now()
		old := mint(issuerNow, object{"gen": 1})
		foreign := mint(issuerNow, nil)
		r.revoke(t, events.Revocation{Scope: events.Subject, Key: "u1", Gen: 2, Before: issuerNow})
		fresh := mint(issuerNow, object{"gen": 2, "jti": "j2"})
		later := mint(issuerNow.Add(time.Second), object{"jti": "j3"})
		r.clock.Advance(skew)
		r.refuses(t, "old", old, verifier.ErrRevoked)
		r.refuses(t, "old, no generation", foreign, verifier.ErrRevoked)
		r.accepts(t, "fresh", fresh)
		r.clock.Advance(time.Second)
		r.accepts(t, "fresh, no generation", later)
	}
}
