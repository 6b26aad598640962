package cache_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/quash-auth/quash/cache"
)

func mustApply(t *testing.T, d *cache.Denylist, batch ...cache.Statement) {
	t.Helper()
	if err := d.Apply(batch); err != nil {
		t.Fatal(err)
	}
}

func verdict(d *cache.Denylist, c cache.Claims) cache.Verdict {
	r := d.Ref(c)
	return d.Check(&r)
}

func TestPeerBug01_ConcurrentChecksNeverMiss(t *testing.T) {
	d := newDenylist(t, cache.Config{})
	mustApply(t, d, cache.Statement{Scope: cache.Token, Issuer: "i", Key: "x", Until: later()})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range checks / 40 {
				c := cache.Claims{Issuer: "i", ID: "x", Session: "s"}
				if i%2 == 1 {
					c.ID = "y" // another key in between: peers shared a hasher
				}
				if got := verdict(d, c).Revoked; got != (i%2 == 0) {
					t.Errorf("goroutine %d, check %d: revoked %v", w, i, got)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestPeerBug02_ConcurrentAppliesLoseNothing(t *testing.T) {
	d := newDenylist(t, cache.Config{})
	const writers, each = 8, 4_000
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				s := cache.Statement{Scope: cache.Session, Issuer: "i", Key: fmt.Sprint(w, "/", i), Until: later(), Sequence: uint64(w*each + i + 1)}
				if err := d.Apply([]cache.Statement{s}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for w := range writers {
		for i := range each {
			if v := verdict(d, cache.Claims{Issuer: "i", Session: fmt.Sprint(w, "/", i)}); v.Sequence != uint64(w*each+i+1) {
				t.Fatalf("statement %d of writer %d: %+v", i, w, v)
			}
		}
	}
}

func TestPeerBug07_OlderCutoffDoesNotWeaken(t *testing.T) {
	d := newDenylist(t, cache.Config{})
	strong := cache.Statement{Scope: cache.Subject, Issuer: "i", Key: "u", Before: 1_000, Until: later(), Sequence: 1}
	weak := strong
	weak.Before, weak.Until, weak.Sequence = 500, weak.Until+1_000, 2
	mustApply(t, d, strong)
	mustApply(t, d, weak)
	if v := verdict(d, cache.Claims{Issuer: "i", Subject: "u", IssuedAt: 1_000, HasIssuedAt: true}); v != (cache.Verdict{Revoked: true, Scope: cache.Subject, Sequence: 1}) {
		t.Errorf("after a later statement with an older cutoff: %+v", v)
	}
	weak.Before, weak.Gen, weak.Until = 100, 1, later()
	mustApply(t, d, weak)
	if v := verdict(d, cache.Claims{Issuer: "i", Subject: "u", IssuedAt: 1_000, HasIssuedAt: true, Gen: 5, HasGen: true}); v.Sequence != 1 {
		t.Errorf("after a statement with a generation: %+v", v)
	}
}

func TestPeerBug08_FromTheFutureIsKept(t *testing.T) {
	clock := newFakeClock()
	d := newDenylist(t, cache.Config{Now: clock.Now})
	now := clock.unix.Load()
	mustApply(t, d, cache.Statement{Scope: cache.Subject, Issuer: "i", Key: "u", Before: now + 300, Until: now + 3_600})
	d.Sweep()
	for _, iat := range []int64{now, now + 300} {
		if !verdict(d, cache.Claims{Issuer: "i", Subject: "u", IssuedAt: iat, HasIssuedAt: true}).Revoked {
			t.Errorf("token issued at now%+d let in", iat-now)
		}
	}
	if verdict(d, cache.Claims{Issuer: "i", Subject: "u", IssuedAt: now + 301, HasIssuedAt: true}).Revoked {
		t.Error("newer token denied")
	}
}

func TestPeerBug10_EntryOutlivesLeeway(t *testing.T) {
	clock := newFakeClock()
	const leeway = 60
	d := newDenylist(t, cache.Config{Now: clock.Now, Grace: leeway * time.Second})
	exp := clock.unix.Load() + 300
	mustApply(t, d, cache.Statement{Scope: cache.Token, Issuer: "i", Key: "x", Until: exp})
	for clock.unix.Load() <= exp+leeway {
		d.Sweep()
		if !verdict(d, cache.Claims{Issuer: "i", ID: "x"}).Revoked {
			t.Fatalf("let in at exp%+d, within the leeway", clock.unix.Load()-exp)
		}
		clock.unix.Add(1)
	}
	if d.Sweep(); verdict(d, cache.Claims{Issuer: "i", ID: "x"}).Revoked {
		t.Error("still there after exp + leeway")
	}
}

func TestPeerBug11_SameSecondBothWays(t *testing.T) {
	d := newDenylist(t, cache.Config{})
	const second = 1_000
	mustApply(t, d,
		cache.Statement{Scope: cache.Subject, Issuer: "i", Key: "plain", Before: second, Until: later()},
		cache.Statement{Scope: cache.Subject, Issuer: "i", Key: "ours", Before: second, Gen: 5, Until: later()})
	for _, c := range []struct {
		name    string
		subject string
		iat     int64
		gen     uint64
		want    bool
	}{
		{"no generation, same second: the safe side", "plain", second, 0, true},
		{"no generation, next second", "plain", second + 1, 0, false},
		{"older generation, same second", "ours", second, 4, true},
		{"fresh login, same second", "ours", second, 5, false},
		{"older generation, though issued later", "ours", second + 9, 4, true},
		{"fresh login by a slow clock", "ours", second - 9, 5, false},
		{"token without generation, same second", "ours", second, 0, true},
		{"token without generation, next second", "ours", second + 1, 0, false},
	} {
		claims := cache.Claims{Issuer: "i", Subject: c.subject, IssuedAt: c.iat, HasIssuedAt: true, Gen: c.gen, HasGen: c.gen != 0}
		if got := verdict(d, claims).Revoked; got != c.want {
			t.Errorf("%s: revoked %v, want %v", c.name, got, c.want)
		}
	}
	if !verdict(d, cache.Claims{Issuer: "i", Subject: "plain"}).Revoked || !verdict(d, cache.Claims{Issuer: "i", Subject: "ours"}).Revoked {
		t.Error("a token without iat was let in")
	}
}

func TestPeerBug18_SameIDTwoIssuers(t *testing.T) {
	d := newDenylist(t, cache.Config{})
	mustApply(t, d,
		cache.Statement{Scope: cache.Token, Issuer: "a", Key: "x", Until: later()},
		cache.Statement{Scope: cache.Token, Issuer: "a", Key: "bc", Until: later()},
		cache.Statement{Scope: cache.Issuer, Issuer: "c", Before: 100, Until: later()})
	for _, c := range []struct {
		issuer, id string
		want       bool
	}{{"a", "x", true}, {"b", "x", false}, {"a", "bc", true}, {"ab", "c", false}, {"", "abc", false}, {"c", "x", true}} {
		if got := verdict(d, cache.Claims{Issuer: c.issuer, ID: c.id}).Revoked; got != c.want {
			t.Errorf("issuer %q, jti %q: revoked %v, want %v", c.issuer, c.id, got, c.want)
		}
	}
}

// TestInvalidStatements: each is refused by name, and does not keep the others out.
func TestInvalidStatements(t *testing.T) {
	until := later()
	for name, bad := range map[string]cache.Statement{
		"no scope":             {Issuer: "i", Key: "k", Until: until},
		"unknown scope":        {Scope: 7, Issuer: "i", Key: "k", Until: until},
		"no issuer":            {Scope: cache.Token, Key: "k", Until: until},
		"no key":               {Scope: cache.Token, Issuer: "i", Until: until},
		"issuer with a key":    {Scope: cache.Issuer, Issuer: "i", Key: "k", Before: 1, Until: until},
		"token with before":    {Scope: cache.Token, Issuer: "i", Key: "k", Before: 1, Until: until},
		"client, no before":    {Scope: cache.Client, Issuer: "i", Key: "k", Until: until},
		"subject, neg. before": {Scope: cache.Subject, Issuer: "i", Key: "k", Before: -1, Until: until},
		"client with gen":      {Scope: cache.Client, Issuer: "i", Key: "k", Before: 1, Gen: 1, Until: until},
		"no until":             {Scope: cache.Token, Issuer: "i", Key: "k"},
	} {
		d := newDenylist(t, cache.Config{})
		good := cache.Statement{Scope: cache.Session, Issuer: "i", Key: "good", Until: until}
		if err := d.Apply([]cache.Statement{bad, good}); !errors.Is(err, cache.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
		if st := d.Stats(); st.Entries != 1 || st.Invalid != 1 {
			t.Errorf("%s: %d entries, %d invalid", name, st.Entries, st.Invalid)
		}
		if !verdict(d, cache.Claims{Issuer: "i", Session: "good"}).Revoked {
			t.Errorf("%s: the good statement beside it was not applied", name)
		}
	}
	d := newDenylist(t, cache.Config{})
	mustApply(t, d, cache.Statement{Scope: cache.Token, Issuer: "i", Key: "k", Until: 1 << 50, Sequence: 1 << 48})
	if e, ok := d.Lookup(cache.Token, "i", "k"); !ok || e.Until != 1<<32-1 || e.Sequence != 0 {
		t.Errorf("numbers out of range: %+v %v", e, ok)
	}
}

func TestConfigErrors(t *testing.T) {
	for name, cfg := range map[string]cache.Config{
		"MaxEntries": {MaxEntries: -1}, "DetailBytes": {DetailBytes: -1}, "Grace": {Grace: -1},
		"SweepInterval": {SweepInterval: -1}, "SweepInterval, small": {SweepInterval: 1},
	} {
		if d, err := cache.New(cfg); d != nil || !errors.Is(err, cache.ErrConfig) {
			t.Errorf("%s: %v, want ErrConfig", name, err)
		}
	}
	if m, err := cache.NewMemo[int](cache.MemoConfig{MaxBytes: -1}); m != nil || !errors.Is(err, cache.ErrConfig) {
		t.Errorf("MaxBytes: %v, want ErrConfig", err)
	}
}
